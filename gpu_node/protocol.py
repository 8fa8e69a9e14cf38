"""What the node and its engine say to each other: one JSON object a line, over stdin and stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class ProtocolLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineLora(ProtocolLine):
    """A LoRA of the batch: its file, what the catalog says the file is, and its weight."""

    name: str
    file: Path
    #: `sha256:<hex>`; None accepts any file.
    identity: str | None
    weight: float
    #: That for the text encoders; None: the same.
    text_weight: float | None = None


class EngineInversion(ProtocolLine):
    """A textual inversion that texts name, and its file."""

    name: str
    #: `sha256:<hex>`.
    identity: str
    file: Path


class EngineUpscaler(ProtocolLine):
    """The upscaler of the batch, and its file."""

    name: str
    file: Path
    #: `sha256:<hex>`.
    identity: str
    #: Factor for width and height.
    scale: int


class EngineGguf(ProtocolLine):
    """The file that the transformer's weights are read from, and what the catalog says the file is."""

    file: Path
    #: `sha256:<hex>`.
    identity: str


class Load(ProtocolLine):
    """Hold this model by this recipe with exactly these LoRAs and this upscaler.

    What is already so is left as it is.
    """

    command: Literal["load"] = "load"
    model: str
    folder: Path
    #: `sha256:<hex>` or `repo@commit`; None accepts any files.
    identity: str | None
    #: diffusers pipeline class.
    pipeline: str
    #: Longest prompt in tokens.
    max_tokens: int
    #: Component that counts them.
    tokenizer: str = "tokenizer"
    #: Guidance above this computes the negative side too; None: never.
    guided_above: float | None
    recipe: str
    #: Torch dtype the denoiser computes in, such as `bfloat16`.
    compute_dtype: str
    #: Component to the format of its weights, from the recipe.
    weights: dict[str, str]
    #: `none`, or the denoiser's format where it is smaller than 16 bits.
    quantisation: str
    #: None: the weights are in `folder`.
    gguf: EngineGguf | None = None
    placement: tuple[str, ...] = ()
    loras: tuple[EngineLora, ...] = ()
    upscaler: EngineUpscaler | None = None


class EngineText(ProtocolLine):
    """A text to be embedded; its fields are those of `common.embeddings.EmbeddedText`."""

    text: str
    negative: bool = False
    clip_skip: int = 0
    #: Name and identity of each textual inversion in it.
    inversions: tuple[tuple[str, str], ...] = ()
    #: File of its embedding, with the key as its stem: read where it exists, else written. None: neither.
    file: Path | None = None


class Encode(ProtocolLine):
    """Embed these texts and forget all others, so that the text encoder can make room before denoising."""

    command: Literal["encode"] = "encode"
    texts: tuple[EngineText, ...]
    #: CPU threads from now on; None: as before.
    threads: int | None = None
    #: All that the texts name.
    inversions: tuple[EngineInversion, ...] = ()
    #: Texts whose embeddings are only written, one after the other, as long as less than `ahead_s` seconds
    #: have passed over them.
    ahead: tuple[EngineText, ...] = ()
    ahead_s: float = 0.0


class EngineShot(ProtocolLine):
    """One image of a pass; `spec` is `common.shot.Shot.to_dict()`."""

    id: str
    spec: dict[str, Any]


class Render(ProtocolLine):
    """Render one pass: shots that share size, steps, guidance, sampler and knobs."""

    command: Literal["render"] = "render"
    shots: tuple[EngineShot, ...]
    #: Whether the blocks of the denoiser should be compiled, which the first such pass waits for.
    compiled: bool = False


class Interrupt(ProtocolLine):
    """End the running pass at its next step: nobody wants it any more. It fails as `cancelled`.

    Meant for the command before it; where that has been answered already, nothing happens.
    """

    command: Literal["interrupt"] = "interrupt"


class Ready(ProtocolLine):
    """The engine is up."""

    event: Literal["ready"] = "ready"
    #: Why it is not confined; empty where it is.
    unconfined: str = ""


class Completed(ProtocolLine):
    """The model is held. The engine takes the next command."""

    event: Literal["completed"] = "completed"


class Encoded(ProtocolLine):
    """The texts are embedded, or known to be refused. The engine takes the next command."""

    event: Literal["encoded"] = "encoded"
    #: Texts for a text encoder; the others were known or read from their files.
    encoded: int = 0
    #: Seconds of reading text encoders, which are left out of `load` until a text needs them.
    load_s: float = 0.0
    #: Seconds over texts that were encoded ahead.
    ahead_s: float = 0.0
    #: Files whose embedding this model cannot take, and why. Their texts are encoded, and written instead.
    unfit: dict[Path, str] = {}


class Alive(ProtocolLine):
    """One text is encoded, or one tile enlarged, which can take minutes on a CPU; the command goes on."""

    event: Literal["alive"] = "alive"


class Step(ProtocolLine):
    """The denoiser ran; `done` steps of the running pass are over."""

    event: Literal["step"] = "step"
    done: int


class Image(ProtocolLine):
    """One image is encoded in the spool folder, in the file that the shot and its type name."""

    event: Literal["image"] = "image"
    shot_id: Annotated[str, Field(pattern=r"^[\w-]+$")]
    sha256: str
    size: int
    content_type: Literal["image/png", "image/webp", "image/jpeg"]
    #: Seconds of encoding and writing this file.
    save_s: float

    def file_in(self, spool: Path) -> Path:
        return spool / f"{self.shot_id}.{self.content_type.removeprefix('image/')}"


class Failed(ProtocolLine):
    """The command failed, or one shot of it (`shot_id`); the engine goes on unless it says otherwise."""

    event: Literal["failed"] = "failed"
    #: A kind of `common.failures`.
    kind: str
    message: str
    shot_id: str | None = None
    #: What was held when memory ran out.
    peak_bytes: int | None = None


class Done(ProtocolLine):
    """The pass is decoded; its images follow as they are encoded. The engine takes the next command."""

    event: Literal["done"] = "done"
    #: Without compiling.
    denoise_s: float
    #: Upscaling included.
    decode_s: float
    #: Pixels of the tiles that were enlarged.
    tile: int | None = None
    #: Of rendering; upscaling takes what is free.
    peak_bytes: int | None
    #: Whether the pass was rendered by compiled blocks, and the seconds that compiling took in it.
    compiled: bool = False
    compile_s: float = 0.0
    #: Why not, where it should have been.
    compile_problem: str = ""


Command = Load | Encode | Render | Interrupt
Event = Ready | Completed | Encoded | Alive | Step | Image | Failed | Done

COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
