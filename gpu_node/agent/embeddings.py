"""The embeddings of a batch: fetched before its texts are encoded, and stored for other nodes afterwards.

Nothing here fails a shot: a text whose embedding does not arrive is encoded.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx

from common.embeddings import (
    EmbeddedText,
    TextEncoding,
    check_embedding,
    embedding_key,
    encoder_dtypes,
    encoding_versions,
    may_change_text,
)
from common.errors import FarmError, Invalid, NotFound
from common.messages import (
    MAX_EMBEDDING,
    EmbeddingsReport,
    EmbeddingsRequest,
    EmbeddingUpload,
    Fallback,
    Grant,
)
from common.weights import read_header
from gpu_node.agent.announced import upload_headers
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.progress import ActiveBatch
from gpu_node.protocol import Encoded, Load
from gpu_node.system import read_carefully

log = logging.getLogger(__name__)

#: Requests to the store at once.
_AT_ONCE = 8
#: Seconds without an embedding arriving after which the missing ones are encoded.
_STALL_S = 5.0
#: Seconds that a batch waits for embeddings at the most, once its model is loaded.
_LONGEST_S = 30.0
#: Seconds that the end of a batch leaves to its uploads.
_LAST_UPLOADS_S = 5.0
#: Without a byte in either direction. A store that is slower costs more than encoding.
_TIMEOUT = httpx.Timeout(_STALL_S)
#: What stores say of a key that they do not have; of uploads, that it is there already.
_MISSING, _THERE_ALREADY = (404, 410), (409, 412)
#: Seconds between looks at the batch while embeddings arrive.
_LOOK_S = 0.05
#: Embeddings of one report.
_TOGETHER = 256
#: The encoding of a model of which nobody can tell how it encodes.
_UNKNOWN = "0" * 64


class BatchEmbeddings:
    """Of one batch. `folder` holds their files until the batch ends."""

    def __init__(
        self, coordinator: Coordinator, store: httpx.Client, batch: ActiveBatch, folder: Path
    ) -> None:
        self._coordinator = coordinator
        self._store = store
        self._batch = batch
        self._folder = folder
        self._encoding = ""
        self._texts: Sequence[EmbeddedText] = ()
        self._files: dict[EmbeddedText, Path] = {}
        #: Texts that the engine knows: they need no file here, and other nodes need one.
        self._known: Set[EmbeddedText] = frozenset()
        #: Texts that other batches need, and the seconds that encoding them may take.
        self._ahead: dict[EmbeddedText, Path] = {}
        self.ahead_s = 0.0
        #: Why files did not arrive, and an example of what was wrong.
        self._lacks: dict[Path, Fallback] = {}
        self._example = "nothing arrived in time"
        #: Whether the farm takes what is encoded here.
        self._takes = False
        self._fetching = threading.Thread(target=lambda: None)
        self._storing: threading.Thread | None = None
        #: Set when no more requests are worth their time.
        self._over = threading.Event()
        self._heard_at = 0.0

    def fetch(
        self,
        load: Load,
        texts: Sequence[EmbeddedText],
        versions: Mapping[str, str],
        realm: str,
        *,
        known: Set[EmbeddedText] = frozenset(),
    ) -> None:
        """Begin to fetch the embeddings of the texts of the batch, as `load` needs them.

        Of texts that the engine has `known`, to tell the farm whether the store has all; nothing if it
        knows all.
        """
        self._texts, self._known = texts, known
        self._files, self._ahead = {}, {}
        encoding = text_encoding(load, versions)
        if encoding is None or known >= set(texts):
            return
        self._encoding, self._heard_at = encoding.key, time.monotonic()
        self._files = {text: self._file_of(embedding_key(self._encoding, realm, text)) for text in texts}
        self._lacks = {file: "unavailable" for file in self._files.values() if not file.exists()}
        if not self._lacks:
            return
        self._fetching = threading.Thread(
            target=self._fetch, args=(tuple(self._lacks),), name="embeddings", daemon=True
        )
        self._fetching.start()

    def files(self) -> dict[EmbeddedText, Path]:
        """The file of each text: there, or to be written; empty if the farm shares none.

        Returns when all have arrived that do so in time.
        """
        longest = time.monotonic() + _LONGEST_S
        while self._fetching.is_alive() and not self._batch.over.is_set():
            self._fetching.join(_LOOK_S)
            if time.monotonic() > min(longest, self._heard_at + _STALL_S):
                self._over.set()
                break
        return dict(self._files)

    def ahead(self) -> dict[EmbeddedText, Path]:
        """The files to be written of texts that other batches need."""
        return {} if self._fetching.is_alive() else dict(self._ahead)

    def lacking(self) -> int:
        """Texts whose embedding does not arrive. The farm hears of it before the batch is handed back."""
        files = self.files()
        needed = [text for text in self._texts if text not in self._known]
        lacks = [file for text in needed if not (file := files.get(text)) or not file.exists()]
        if lacks:
            reasons = Counter(
                self._lacks.get(file, "unavailable") if file else "unavailable" for file in lacks
            )
            encoding = self._encoding or _UNKNOWN
            report = EmbeddingsReport(
                token=self._batch.lease.token, encoding=encoding, fallbacks=dict(reasons)
            )
            try:
                self._send(report)
            except FarmError as error:
                log.warning("the farm does not know that embeddings are missing: %s", error)
        return len(lacks)

    def encoded(self, answer: Encoded) -> None:
        """Tell the farm how the texts became embeddings and, in the background, store those encoded here."""
        if not self._files or self._storing is not None:
            return
        for file, why in answer.unfit.items():
            self._lacks[file], self._example = "unfit", f"embedding {file.stem[:12]} does not fit: {why}"
        if useless := sum(why != "missing" for why in self._lacks.values()):
            log.warning("%d embeddings could not be fetched (%s); texts are encoded", useless, self._example)
        self._storing = threading.Thread(
            target=self._tell, args=(answer.encoded, dict(self._lacks)), name="store-embeddings", daemon=True
        )
        self._storing.start()

    def finish(self) -> None:
        """Return when all is stored, or after a few seconds; what is not stored by then stays so."""
        if self._storing is not None:
            self._storing.join(_LAST_UPLOADS_S)
        self._over.set()

    def _fetch(self, files: Sequence[Path]) -> None:
        request = EmbeddingsRequest(token=self._batch.lease.token, encoding=self._encoding)
        try:
            found = self._coordinator.embeddings(self._batch.lease.batch_id, request)
        except NotFound:  # a farm that shares none
            self._files = {}
            return
        except FarmError as error:
            self._example = str(error)
            return
        if not found.urls:
            self._files = {}
            return
        self._takes, self._heard_at = found.takes, time.monotonic()
        self._ahead = {
            EmbeddedText(one.text, one.negative, one.clip_skip): self._file_of(one.key) for one in found.ahead
        }
        self.ahead_s = found.ahead_s
        wanted = [(file, found.urls[file.stem]) for file in files if file.stem in found.urls]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="embedding") as threads:
            for file, url in wanted:
                threads.submit(self._fetch_one, file, url)

    def _fetch_one(self, file: Path, url: str) -> None:
        if self._over.is_set():
            return
        why = self._download(file, url)
        self._heard_at = time.monotonic()
        if why is None:
            self._lacks.pop(file, None)
        else:
            self._lacks[file] = why

    def _download(self, file: Path, url: str) -> Fallback | None:
        """None once the file is there."""
        try:
            with self._store.stream("GET", url, timeout=_TIMEOUT) as answer:
                if answer.status_code in _MISSING:
                    return "missing"
                if not answer.is_success:
                    self._example = f"the store answered {answer.status_code}"
                    return "unavailable"
                data = b""
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > MAX_EMBEDDING or self._over.is_set():
                        break
            check_embedding(data, file.stem)
            _write(file, data)
        except Invalid as error:
            self._example = str(error)
            return "damaged"
        except (httpx.HTTPError, OSError) as error:
            self._example = str(error) or type(error).__name__
            return "unavailable"
        return None

    def _tell(self, encoded: int, lacks: Mapping[Path, Fallback]) -> None:
        known = {file for text, file in self._files.items() if text in self._known}
        needed = {file: why for file, why in lacks.items() if file not in known}
        lacking = needed if self._takes else {}
        useless = [file.stem for file, why in lacking.items() if why in ("damaged", "unfit")]
        uploads = [upload for file in lacking if (upload := _upload_of(file))]
        complete = self._takes and known.isdisjoint(lacks) and len(uploads) == len(lacking)
        report = EmbeddingsReport(
            token=self._batch.lease.token,
            encoding=self._encoding,
            fetched=len({*self._files.values()} - lacks.keys()),
            encoded=encoded,
            fallbacks=Counter(needed.values()),
            useless=tuple(useless[:_TOGETHER]),
            complete=complete and not uploads,
        )
        try:
            for start in range(0, max(1, len(uploads)), _TOGETHER):
                some = tuple(uploads[start : start + _TOGETHER])
                self._send(report.model_copy(update={"uploads": some}))
                report = EmbeddingsReport(token=report.token, encoding=report.encoding)
        except FarmError as error:
            log.warning("embeddings are not stored: %s", error)
        else:
            if complete and not self._over.is_set():
                with suppress(FarmError):
                    if uploads:
                        self._send(report.model_copy(update={"complete": True}))
                    self._tell_ahead(report)

    def _tell_ahead(self, report: EmbeddingsReport) -> None:
        """Store what was encoded ahead; shots count as embedded once the store has all of their texts."""
        uploads = [upload for file in self._ahead.values() if (upload := _upload_of(file))]
        if not uploads:
            return
        self._send(report.model_copy(update={"uploads": tuple(uploads)}))
        if not self._over.is_set():
            keys = tuple(upload.key for upload in uploads)
            self._send(EmbeddingsReport(token=report.token, encoding=report.encoding, ahead=keys))

    def _send(self, report: EmbeddingsReport) -> None:
        grants = self._coordinator.report_embeddings(self._batch.lease.batch_id, report)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="embedding") as threads:
            for upload, grant in zip(report.uploads, grants, strict=True):
                threads.submit(self._store_one, self._file_of(upload.key), grant)

    def _file_of(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _store_one(self, file: Path, grant: Grant) -> None:
        if self._over.is_set():
            return
        try:
            answer = self._store.put(
                grant.url,
                content=read_carefully(file),
                headers=upload_headers(grant.headers),
                timeout=_TIMEOUT,
            )
        except (httpx.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
        else:
            if answer.is_success or answer.status_code in _THERE_ALREADY:
                return
            why = f"the store answered {answer.status_code}"
        if not self._over.is_set():
            # A store that is away is not asked once for each of them.
            self._over.set()
            log.warning("embeddings are not stored: %s", why)


def text_encoding(load: Load, versions: Mapping[str, str]) -> TextEncoding | None:
    """What decides the embeddings of a loaded model; None where nobody can tell: none are shared."""
    loras = []
    for lora in load.loras:
        try:
            changes_text = may_change_text(read_header(lora.file).tensors)
        except (Invalid, OSError):
            return None
        if changes_text and lora.identity is None:
            return None
        if changes_text:
            weight = lora.weight if lora.text_weight is None else lora.text_weight
            loras.append((lora.identity or "", weight))
    if load.identity is None:
        return None
    return TextEncoding(
        pipeline=load.pipeline,
        model=load.identity,
        tokenizer=load.tokenizer,
        max_tokens=load.max_tokens,
        dtypes=encoder_dtypes(load.weights, load.compute_dtype),
        loras=tuple(loras),
        versions=encoding_versions(versions),
    )


def _write(file: Path, data: bytes) -> None:
    """The engine never meets half of it, and a full disk keeps nothing of it."""
    part = file.with_suffix(".arriving")
    try:
        part.write_bytes(data)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _upload_of(file: Path) -> EmbeddingUpload | None:
    """None where nothing was written, such as for a text that is too long."""
    with suppress(OSError):
        data = read_carefully(file)
        if 0 < len(data) <= MAX_EMBEDDING:
            return EmbeddingUpload(key=file.stem, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    return None
