"""The prompts that the demo model learns from."""

import random

from tests.demo_model.build import new_tokenizer
from tests.demo_model.captions import EMPTY, caption, plain, tidy, vocabulary, wordy
from tests.demo_model.flow import tokenise
from tests.demo_model.people import PEOPLE
from tests.demo_model.scenes import Scene, sample, trained_triples
from tests.demo_model.train_denoiser import LONG, SHORT

MUG = Scene(subject="mug", colour="orange", background="blue")


def captions(count: int) -> list[str]:
    rng = random.Random(0)
    kept = trained_triples()
    return [caption(sample(rng, rng.choice(kept)), rng) for _ in range(count)]


def test_a_plain_caption_reads_as_people_write() -> None:
    assert plain(MUG) == "an orange mug on a blue background"


def test_a_persona_is_described_by_hair_skin_and_clothes() -> None:
    ana = Scene(subject="woman", colour="green", background="white", hair="red", skin="dark")
    assert plain(ana) == "a woman with red hair, dark skin and a green shirt on a white background"


def test_commas_are_closed_up_and_articles_fit() -> None:
    assert tidy("a orange cat ,  , soft light , ") == "an orange cat, soft light"


def test_about_a_tenth_of_the_captions_is_empty() -> None:
    texts = captions(2000)
    assert abs(texts.count("") / len(texts) - EMPTY) < 0.03


def test_captions_vary() -> None:
    rng = random.Random(0)
    assert len({caption(MUG, rng) for _ in range(200)}) > 120


def test_every_subject_word_is_known_to_the_tokenizer_as_one_token() -> None:
    tokenizer = new_tokenizer(vocabulary())
    for word in (*vocabulary(), *PEOPLE):
        assert len(tokenizer.tokenize(" " + word)) == 1, word


def test_unknown_words_and_capitals_are_readable() -> None:
    tokenizer = new_tokenizer(vocabulary())
    ids, real = tokenise(tokenizer, ["A Red MUG, zeppelin", "a red mug, zeppelin"], SHORT)
    assert ids[0].tolist() == ids[1].tolist()
    assert real.sum() > 10


def test_captions_fit_their_padded_lengths() -> None:
    tokenizer = new_tokenizer(vocabulary())
    rng = random.Random(1)
    texts = captions(500)
    _, short = tokenise(tokenizer, texts, SHORT)
    _, long = tokenise(tokenizer, [wordy(text, rng) for text in texts], LONG)
    assert (short.sum(1) == SHORT).float().mean() < 0.02
    assert (long.sum(1) == LONG).float().mean() < 0.05
