"""The means of training: the batched objective, the optimiser, checkpoints."""

from pathlib import Path

import torch
from torch import nn

from tests.demo_model import flow
from tests.demo_model.build import new_text_encoder, new_tokenizer, new_transformer
from tests.demo_model.captions import vocabulary
from tests.demo_model.loop import Budget, Moment, Stateful, train
from tests.demo_model.optim import Average, Pair, cosine, orthogonalise


def test_the_batched_forward_equals_the_models_own() -> None:
    torch.manual_seed(0)
    tokenizer = new_tokenizer(vocabulary())
    encoder, transformer = new_text_encoder(len(tokenizer)).eval(), new_transformer().eval()
    nn.init.normal_(transformer.cap_pad_token)
    ids, real = flow.tokenise(tokenizer, ["a red mug on a blue background", "robot"], 32)
    latents, t = torch.randn(2, 16, 16, 16), torch.tensor([0.3, 0.7])
    with torch.no_grad():
        words = flow.features(encoder, ids, real)
        single = [part[keep] for part, keep in zip(words, real, strict=True)]
        own = transformer(list(latents.unsqueeze(2).unbind(0)), t, single, return_dict=False)[0]
        batched = flow.velocity(transformer, latents, t, words, real)
    torch.testing.assert_close(batched, torch.stack(own).squeeze(2))


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((32, 96), (96, 32)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert 0.5 < values.min() <= values.max() < 1.4


def test_the_rate_rises_then_falls() -> None:
    assert cosine(0.0) == 0.0
    assert cosine(0.02) == 1.0
    assert cosine(1.0) < 0.03


def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def run(folder: Path, *budgets: int) -> list[float]:
        for steps in budgets:
            torch.manual_seed(0)
            model = nn.Linear(4, 4)
            average = Average({"model": model}, 0.9)
            optimiser = Pair([model], muon_lr=0.01, adam_lr=0.01, inner="weight")

            def step(
                moment: Moment, model: nn.Module = model, pair: Pair = optimiser, mean: Average = average
            ) -> float:
                inputs = torch.randn(8, 4) * moment.rng.random()
                loss: torch.Tensor = (model(inputs) - inputs.flip(1)).square().mean()
                torch.autograd.backward(loss)
                pair.step(1.0)
                mean.update()
                return float(loss.detach())

            parts: dict[str, Stateful] = {"model": model, "average": average, "optimiser": optimiser}
            train("line", Budget(steps=steps), parts, step, folder)
        weight = average.modules["model"].get_parameter("weight")
        return list(weight.flatten().tolist())

    assert run(tmp_path / "one", 20) == run(tmp_path / "two", 8, 20)
