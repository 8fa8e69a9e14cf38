"""`farm models add`, `rm`, `check` and `show`: what the operator added to the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import BaseModel, ConfigDict

from common.catalog import Catalog, Classifier, Lora, Model, TextualInversion, Upscaler, load_catalog
from common.catalog.consent import consent_problem
from common.catalog.licenses import EffectiveLicense, effective_license
from common.errors import Invalid, NotFound, Unavailable
from common.settings import Settings, load_settings
from common.storage.open import open_store
from common.textual_inversions import MARK
from common.transfers import transfer_bar
from common.units import counted, format_gib
from common.wording import suggestion
from coordinator.cli import options
from coordinator.cli.connection import client_of, connect, settings_in_force
from coordinator.cli.show import out, print_json, table, whisper
from coordinator.models.adding import Adder
from coordinator.models.addition import Added, AddRequest, Part, Prepared, Section
from coordinator.models.catalog_file import CatalogFile
from coordinator.models.held import HeldFiles, added_again, held_files, identity_of, remove_files
from coordinator.models.place import add, alone
from coordinator.models.publish import publish
from coordinator.models.source import open_source
from coordinator.models.web import Web

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Model, LoRA, textual inversion, upscaler or classifier; `farm models` lists them.",
    ),
]
_Entry = Model | Lora | TextualInversion | Upscaler | Classifier


_SERVED = "the running farm serves it: nodes fetch it when they need it"


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True)


class AddedFileReport(_Report):
    path: str
    size: int
    #: None in a dry run.
    sha256: str | None = None


class AddedReport(_Report):
    """What `farm models add --json` prints."""

    section: Section
    name: str
    what: str
    origin: str
    #: As in the catalog file; without the identity in a dry run.
    entry: dict[str, Any]
    files: tuple[AddedFileReport, ...]
    remarks: tuple[str, ...]
    #: Whether the running farm has the files and the entry.
    served: bool = False


class CheckReport(_Report):
    """One line of `farm models check --json`."""

    name: str
    good: bool
    sentence: str


class HeldReport(_Report):
    """What `farm models show --json` prints."""

    name: str
    section: Section
    #: Of a LoRA its base, of an upscaler or classifier its architecture, else the family.
    belongs_to: str
    identity: str | None
    license: str
    commercial: bool
    #: What its licence and those of its components allow together.
    allows: EffectiveLicense
    #: Whom a LoRA shows, and what that person has agreed to; empty if nobody in particular.
    person: str = ""
    #: None if the files are not on this machine.
    place: str | None
    size: int
    files: int
    triggers: tuple[str, ...] = ()
    #: Of a classifier.
    labels: tuple[str, ...] = ()
    #: Of a textual inversion: tokens that it takes.
    vectors: int = 0
    #: Of an upscaler: factor.
    scale: int = 0
    gguf: tuple[str, ...] = ()
    #: Whether `farm models rm` can remove it.
    is_added: bool


def add_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="`hf:OWNER/NAME[@REVISION]`, `hf:OWNER/NAME/FILE`, a URL, a folder, a .safetensors or .gguf "
            "file, or a name of the built-in catalog. Several: such names, LoRAs, or the files of one model.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name in the catalog. Default: of the source."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="MODEL",
            help="Model of the catalog that it is a variant of; for a LoRA, the model that it was made for. "
            "Default: recognised.",
        ),
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option(
            "--license", metavar="LICENSE", help="Licence of the catalog. Default: as the source states."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be fetched, and fetch nothing.")
    ] = False,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Fetch a model, LoRA, textual inversion or upscaler, verify it and add it to the catalog of this farm.

    Recognises what the source is from its headers, and fetches only the files that a pipeline reads. An
    interrupted fetch continues when the command is run again. HF_TOKEN opens gated repositories, HF_ENDPOINT
    names another hub.

    Examples: `farm models add z-image-turbo` · `farm models add hf:OWNER/NAME --dry-run` ·
    `farm models add ana.safetensors --like sdxl` · `farm models add DENOISER TEXT_ENCODER VAE --name mine`
    """
    farm = load_settings(settings)
    reports = []
    with Web() as web:
        asked = AddRequest(sources=tuple(sources), name=name, like=like, license=license_)
        for request in _requests(asked, web):
            reports.append(_add(request, farm, web, dry_run=dry_run, is_quiet=as_json))
    if as_json:
        print_json(reports if len(reports) > 1 else reports[0])


def _requests(request: AddRequest, web: Web) -> list[AddRequest]:
    """One for each source that is whole alone, and one for the other sources: the files of one model."""
    sources = request.sources
    alone = [source for source in sources if len(sources) > 1 and _is_whole(source, web)]
    others = tuple(source for source in sources if source not in alone)
    found = [replace(request, sources=each) for each in (*((source,) for source in alone), others) if each]
    if len(found) > 1 and (request.name or request.like or request.license):
        raise Invalid(
            "`--name`, `--like` and `--license` are for one model or LoRA; add several without them"
        )
    return found


def _is_whole(source: str, web: Web) -> bool:
    """Whether it is a model of the built-in catalog or a LoRA."""
    if source in load_catalog().models:
        return True
    opened = open_source(source, web)
    return opened.is_file and Part.of(opened).found.kind == "lora"


def _add(request: AddRequest, farm: Settings, web: Web, *, dry_run: bool, is_quiet: bool) -> AddedReport:
    own = CatalogFile(farm.own_catalog, farm.catalogs)
    adder = _adder(farm, own, web)
    prepared = adder.prepare(request)
    if dry_run:
        return _tell_plan(prepared, is_quiet)
    waits = f"waiting for another `farm models add` that fetches {prepared.name}"
    with alone(prepared, adder.models, lambda: whisper(waits)):
        if own.entries() != adder.own:
            # Another command has added something since it was read.
            adder = _adder(farm, own, web)
            prepared = adder.prepare(request)
        with transfer_bar(prepared.name) as advance:
            added = add(prepared, adder.models, web, advance)
        today = datetime.now(UTC).date().isoformat()
        own.put(added.section, added.name, added.entry, f"From {prepared.origin}, {today}.")
    served = _publish(added, farm)
    return _tell_added(prepared, added, own.file, served=served, is_quiet=is_quiet)


def _adder(farm: Settings, own: CatalogFile, web: Web) -> Adder:
    """For the catalog as it is now."""
    return Adder(
        catalog=load_catalog(farm.catalog_files),
        built_in=load_catalog(),
        own=own.entries(),
        models=(farm.home / "models").absolute(),
        folders=farm.models,
        web=web,
    )


def _publish(added: Added, farm: Settings) -> bool:
    """Let the running farm serve the files; False if no farm runs."""
    try:
        in_force = settings_in_force(farm)
        client = client_of(in_force)
        client.catalog()
    except Unavailable:
        return False
    done, total = 0, sum(file.size for file in added.files)
    with client, transfer_bar(f"{added.name} to the store") as advance:

        def on_bytes(size: int) -> None:
            nonlocal done
            done += size
            advance(done, total)

        publish(added, open_store(in_force), client.add_entry, on_bytes)
    return True


def publish_command(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Names of what `farm models add` has added."),
    ],
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Let the running farm serve entries that you have edited, or added while it could not be reached.

    A farm that starts does so by itself.

    Example: `farm models publish my-model`
    """
    farm = load_settings(settings)
    entries = CatalogFile(farm.own_catalog, farm.catalogs).entries()
    reports = []
    for name in names:
        section = _own_section(name, entries)
        held = held_files(name, load_catalog(farm.catalog_files), farm.model_folders)
        if held is None:
            raise NotFound(f"`{name}` has no files here; run `farm models add {name}`")
        with transfer_bar(name) as advance:
            added = added_again(section, name, entries[section][name], held, advance)
        if not _publish(added, farm):
            raise Unavailable("no farm is running here; run `farm up` first")
        reports.append(CheckReport(name=name, good=True, sentence=_SERVED))
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            out.say(f"{report.name}: {report.sentence}")


def _own_section(name: str, entries: dict[str, dict[str, Any]]) -> Section:
    """Raises NotFound if the entry was not added."""
    sections: tuple[Section, ...] = get_args(Section)
    for section in sections:
        if name in entries.get(section, {}):
            return section
    known = [each for some in entries.values() for each in some]
    raise NotFound(f"`{name}` was not added by `farm models add`{suggestion(name, known)}")


def rm_command(name: Name, settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """Remove what `farm models add` has added, with its files.

    Example: `farm models rm my-model`
    """
    farm = load_settings(settings)
    own = CatalogFile(farm.own_catalog, farm.catalogs)
    section = _own_section(name, own.entries())
    ordering = [
        lane for lane, told in farm.lanes.items() if section == "classifiers" and name in told.classifiers
    ]
    if ordering:
        raise Invalid(f"lane {ordering[0]} of the settings orders `{name}`: take it out there first")
    held = held_files(name, load_catalog(farm.catalog_files), ((farm.home / "models").absolute(),))
    own.remove(section, name)
    with suppress(Unavailable, NotFound), connect(settings) as client:
        client.remove_entry(section, name)
    others = load_catalog(farm.catalog_files)
    freed = remove_files(held, others) if held else 0
    report = CheckReport(name=name, good=True, sentence=f"removed, {format_gib(freed)} freed")
    if as_json:
        print_json(report)
    else:
        out.say(f"{name}: {report.sentence}")


def check_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Models, LoRAs, textual inversions, upscalers, classifiers. Default: all with files here.",
        ),
    ] = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Hash the files of the catalog again and compare them with it. Exit code 1 if any differs.

    Example: `farm models check z-image-turbo`
    """
    farm = load_settings(settings)
    catalog = load_catalog(farm.catalog_files)
    for name in names or ():
        _known(name, catalog)
    reports = []
    for name in names or catalog.names:
        held = held_files(name, catalog, farm.model_folders)
        if held is None and names is None:
            continue
        report = _check(name, held)
        reports.append(report)
        if not as_json:
            out.say(("ok  ", "green") if report.good else ("no  ", "red"), f"{name}: {report.sentence}")
    if as_json:
        print_json(reports)
    if not all(report.good for report in reports):
        raise typer.Exit(1)


def show_command(name: Name, settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """Show an entry of the catalog: family, licence, identity, files on this machine.

    Example: `farm models show z-image-turbo`
    """
    farm = load_settings(settings)
    report = _held_report(name, farm, load_catalog(farm.catalog_files))
    if as_json:
        print_json(report)
        return
    kinds = {"loras": "made for", "upscalers": "architecture", "classifiers": "architecture"}
    kind = kinds.get(report.section, "family")
    lines = {
        kind: report.belongs_to,
        "licence": f"{report.license}: {report.allows.words}",
        "person": report.person,
        "identity": report.identity or "unknown: it can be planned, not submitted",
        "files": f"{counted(report.files, 'file')}, {format_gib(report.size)}, in {report.place}"
        if report.place
        else f"not on this machine; `farm models add {name}` fetches them",
        "GGUF": ", ".join(report.gguf),
        "trigger words": ", ".join(report.triggers),
        "enlarges": f"{report.scale}x; manifests name it `upscale: {name}`" if report.scale else "",
        "labels": ", ".join(report.labels),
        "in prompts": f"{MARK}{name}, {counted(report.vectors, 'token')}" if report.vectors else "",
    }
    out.print(table(name, "", rows=[(key, value) for key, value in lines.items() if value]))


def _held_report(name: str, farm: Settings, catalog: Catalog) -> HeldReport:
    entry = _known(name, catalog)
    held = held_files(name, catalog, farm.model_folders)
    files = held.files if held else ()
    section, belongs_to = _belonging(entry)
    return HeldReport(
        name=name,
        section=section,
        belongs_to=belongs_to,
        identity=entry.identity,
        license=entry.license.name,
        commercial=entry.license.commercial,
        allows=effective_license([entry]),
        person=_person_words(entry, catalog.today()) if isinstance(entry, Lora) else "",
        place=str(held.place) if held else None,
        size=sum(file.stat().st_size for file in files),
        files=len(files),
        triggers=entry.triggers if isinstance(entry, Lora) else (),
        vectors=entry.vectors if isinstance(entry, TextualInversion) else 0,
        scale=entry.scale if isinstance(entry, Upscaler) else 0,
        gguf=tuple(entry.gguf) if isinstance(entry, Model) else (),
        labels=entry.form.labels if isinstance(entry, Classifier) else (),
        is_added=any(
            name in entries for entries in CatalogFile(farm.own_catalog, farm.catalogs).entries().values()
        ),
    )


def _person_words(lora: Lora, today: date) -> str:
    """Whom it shows, and what may be done with it today."""
    person = lora.person
    if person is None or not person.real:
        return "" if person is None else f"subject {person.subject}, not a real person"
    if why := consent_problem(lora, commercial=False, today=today):
        return why
    until = "" if person.expires is None else f" until {person.expires}"
    return f"subject {person.subject}, agreed to {', '.join(person.scope)} use{until} ({person.consent})"


def _belonging(entry: _Entry) -> tuple[Section, str]:
    """The section of an entry, and its family, base or architecture."""
    match entry:
        case Model():
            return "models", entry.family.name
        case Lora():
            return "loras", entry.base
        case TextualInversion():
            return "textual_inversions", entry.family
        case Upscaler():
            return "upscalers", entry.architecture
        case Classifier():
            return "classifiers", entry.form.architecture


def _known(name: str, catalog: Catalog) -> _Entry:
    found = catalog.entry(name)
    if found is None:
        raise NotFound(f"the catalog has no `{name}`{suggestion(name, catalog.names)}")
    return found


def _check(name: str, held: HeldFiles | None) -> CheckReport:
    if held is None:
        return CheckReport(name=name, good=False, sentence=f"no files here; run `farm models add {name}`")
    with transfer_bar(name) as advance:
        found = identity_of(held, advance)
    wrong = [path for path, identity in held.identities.items() if identity not in (None, found[path])]
    if wrong:
        remedy = f"add it again, or restore {held.place}"
        return CheckReport(
            name=name, good=False, sentence=f"{', '.join(map(str, wrong))} differs from the catalog: {remedy}"
        )
    known = all(held.identities.values())
    words = "matches the catalog" if known else "not verified: the catalog has no identity for it"
    return CheckReport(name=name, good=True, sentence=f"{words} ({format_gib(held.size)})")


def _tell_plan(prepared: Prepared, is_quiet: bool) -> AddedReport:
    files = tuple(AddedFileReport(path=each.path, size=each.size) for each in prepared.chosen)
    if not is_quiet:
        out.say(f"{prepared.name}: {prepared.what}, from {prepared.origin}")
        rows = [(each.path, format_gib(each.size)) for each in sorted(files, key=lambda each: -each.size)]
        out.print(table("file", "size", rows=rows, right=("size",)))
        for remark in prepared.remarks:
            out.say(remark)
        out.say(f"would fetch {counted(len(files), 'file')}, {format_gib(prepared.size)}")
    return _added_report(prepared, prepared.entry, files, prepared.remarks)


def _tell_added(prepared: Prepared, added: Added, file: Path, *, served: bool, is_quiet: bool) -> AddedReport:
    files = tuple(AddedFileReport(path=each.path, size=each.size, sha256=each.sha256) for each in added.files)
    if not is_quiet:
        size = sum(each.size for each in files)
        out.say(f"{added.name}: {prepared.what}, {counted(len(files), 'file')}, {format_gib(size)}")
        for remark in added.remarks:
            out.say(remark)
        later = "the farm serves it when it starts"
        out.say(f"added to {file}; {_SERVED if served else later}")
        out.say(f"next: `farm models show {added.name}`")
    return _added_report(prepared, added.entry, files, added.remarks, served=served)


def _added_report(
    prepared: Prepared,
    entry: dict[str, Any],
    files: tuple[AddedFileReport, ...],
    remarks: Iterable[str],
    *,
    served: bool = False,
) -> AddedReport:
    return AddedReport(
        section=prepared.section,
        name=prepared.name,
        what=prepared.what,
        origin=prepared.origin,
        entry=entry,
        files=files,
        remarks=tuple(remarks),
        served=served,
    )
