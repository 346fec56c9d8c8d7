"""Writes docs/reference/ from the docstrings of the Python client.

Owns which names the reference has, on which page, and the layout. Every name that `ottla`,
`ottla.blocking` and `ottla.testing` offer has to be on a page; one that isn't ends the program.
`--check` writes nothing and exits 1 if a page is stale.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from api_sources import Attribute, Callee, Class, module_doc, read_class, read_function

import ottla
import ottla.blocking
import ottla.testing
from ottla.protocol.errors import OttlaError, error_classes

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_SECTION = re.compile(r"^(Args|Raises|Returns|Example|Attributes):$", re.MULTILINE)
_NOTE = "<!-- Written by scripts/write_api_reference.py; do not edit. -->\n\n"
_SIGNATURE_WIDTH = 96
_ANNOTATED_DEFAULT = re.compile(r"^(\w+: [^=]*?)=")


@dataclass(frozen=True, slots=True)
class Entry:
    """A public name and the module that defines it."""

    shown: str
    module: str

    @property
    def name(self) -> str:
        """The last part of what people write."""
        return self.shown.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the reference."""

    title: str
    text: str
    entries: tuple[Entry, ...]


_CLIENT = "ottla.client"
PAGES: Mapping[str, Page] = {
    "producer.md": Page(
        "Producer",
        "How to use it: [producing](../producing.md).",
        (
            Entry("ottla.Producer", f"{_CLIENT}.producer"),
            Entry("ProducerOptions", f"{_CLIENT}.producer_settings"),
            Entry("ottla.Delivery", f"{_CLIENT}.deliveries"),
            Entry("ottla.Deliveries", f"{_CLIENT}.deliveries"),
            Entry("ottla.Receipt", f"{_CLIENT}.deliveries"),
            Entry("ottla.Partitioner", f"{_CLIENT}.core.partitioners"),
            Entry("ottla.StickyPartitioner", f"{_CLIENT}.partitioners"),
            Entry("ottla.RoundRobinPartitioner", f"{_CLIENT}.core.partitioners"),
            Entry("ottla.RandomPartitioner", f"{_CLIENT}.partitioners"),
            Entry("ottla.Serializer", f"{_CLIENT}.record_values"),
            Entry("ottla.ProducerInterceptor", f"{_CLIENT}.record_values"),
            Entry("ottla.PreparedRecord", f"{_CLIENT}.record_values"),
        ),
    ),
    "consumer.md": Page(
        "Consumer",
        "How to use it: [consuming](../consuming.md).",
        (
            Entry("ottla.Consumer", f"{_CLIENT}.consumer"),
            Entry("ConsumerOptions", f"{_CLIENT}.consumer_settings"),
            Entry("ottla.ConsumerRecord", f"{_CLIENT}.core.record_columns"),
            Entry("ottla.TopicPartition", f"{_CLIENT}.core.positions"),
            Entry("OffsetAndTime", f"{_CLIENT}.offset_lookups"),
            Entry("ottla.Deserializer", f"{_CLIENT}.received_records"),
            Entry("ottla.ConsumerInterceptor", f"{_CLIENT}.received_records"),
        ),
    ),
    "admin.md": Page(
        "Admin",
        "Topics, settings and the cluster; `Tls` is for all clients. What the cluster's release"
        " doesn't do yet raises UnsupportedVersion.",
        (
            Entry("ottla.Admin", f"{_CLIENT}.admin"),
            *(
                Entry(name, f"{_CLIENT}.admin_items")
                for name in (
                    "ottla.NewTopic",
                    "ottla.NewPartitions",
                    "TopicResult",
                    "TopicListing",
                    "TopicDescription",
                    "PartitionDescription",
                    "ClusterDescription",
                    "BrokerDescription",
                    "ControllerDescription",
                )
            ),
            *(
                Entry(name, f"{_CLIENT}.admin_config_items")
                for name in (
                    "ottla.ConfigResource",
                    "ottla.ConfigChange",
                    "ConfigResult",
                    "ConfigEntry",
                    "ConfigSynonym",
                    "AlteredConfigs",
                )
            ),
            *(
                Entry(name, f"{_CLIENT}.admin_log_items")
                for name in (
                    "DeletedRecords",
                    "LogDirectoryDescription",
                    "LogDirectoryReplica",
                    "ImportedMetadata",
                )
            ),
            Entry("ottla.Tls", f"{_CLIENT}.tls"),
        ),
    ),
    "blocking.md": Page(
        "Without await",
        module_doc("ottla.blocking"),
        (
            Entry("ottla.blocking.Producer", "ottla.blocking.producer"),
            Entry("ottla.blocking.Consumer", "ottla.blocking.consumer"),
            Entry("ottla.blocking.Admin", "ottla.blocking.admin"),
            Entry("ottla.blocking.Delivery", "ottla.blocking.deliveries"),
            Entry("ottla.blocking.Deliveries", "ottla.blocking.deliveries"),
        ),
    ),
    "testing.md": Page(
        "Testing",
        "How to use it: [testing](../testing.md).",
        (
            Entry("ottla.testing.cluster", "ottla.testing.cluster_context"),
            Entry("ottla.testing.ClusterContext", "ottla.testing.cluster_context"),
            Entry("ottla.testing.Cluster", "ottla.testing.running_cluster"),
            Entry("ottla.testing.AsyncCluster", "ottla.testing.running_cluster"),
            Entry("ottla.testing.ClusterService", "ottla.testing.running_cluster"),
            Entry("ottla.testing.AsyncClusterService", "ottla.testing.running_cluster"),
            Entry("ottla.testing.ClusterError", "ottla.testing.cluster_error"),
        ),
    ),
    "errors.md": Page("Errors", "", (Entry("ottla.OttlaError", "ottla.protocol.errors"),)),
}


def prose(doc: str) -> str:
    """A docstring as Markdown: sections of Google's form become lists and code."""
    parts = _SECTION.split(doc.strip())
    text = [_paragraphs(parts[0])]
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        plain = textwrap.dedent(body.strip("\n"))
        if name == "Example":
            code, rest = _example(body)
            text.append(f"```python\n{code}\n```")
            text.append(_paragraphs(rest))
        else:
            items, rest = _items(plain)
            text.append("\n".join([f"**{name}**", "", *items]))
            text.append(_paragraphs(rest))
    return "\n\n".join(part for part in text if part)


def _example(body: str) -> tuple[str, str]:
    """The indented lines, and what comes after them."""
    lines = body.strip("\n").splitlines()
    end = next((n for n, line in enumerate(lines) if line and not line[0].isspace()), len(lines))
    return textwrap.dedent("\n".join(lines[:end])).strip(), "\n".join(lines[end:])


def _items(plain: str) -> tuple[list[str], str]:
    """`name: text` entries as a list; what is less indented after a gap is text again."""
    items: list[str] = []
    lines = plain.splitlines()
    for number, line in enumerate(lines):
        if not line.strip():
            return items, "\n".join(lines[number:])
        if line[0].isspace() and items:
            items[-1] += f" {line.strip()}"
        elif ": " in line:
            name, _, text = line.partition(": ")
            items.append(f"- `{name.strip()}`: {text.strip()}")
        else:
            items.append(f"- {line.strip()}")
    return items, ""


def _paragraphs(text: str) -> str:
    """Paragraphs on a line each; indented ones are code."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if paragraph.startswith("    "):
            found.append(f"```python\n{textwrap.dedent(paragraph)}\n```")
        elif paragraph.strip():
            found.append(" ".join(line.strip() for line in paragraph.splitlines()))
    return "\n\n".join(found)


def signature(text: str) -> str:
    """A signature as code, a parameter a line where it is long."""
    head, _, rest = text.partition("(")
    inside, tail = _closed(rest)
    parameters = [_ANNOTATED_DEFAULT.sub(r"\1 = ", each) for each in _split(inside)]
    line = f"{head}({', '.join(parameters)}){tail}"
    if len(line) > _SIGNATURE_WIDTH:
        line = f"{head}(\n" + "".join(f"    {each},\n" for each in parameters) + f"){tail}"
    return f"```python\n{line}\n```"


def _closed(text: str) -> tuple[str, str]:
    """What is inside the parenthesis that `text` begins behind, and what follows it."""
    depth = 1
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return text[:position], text[position + 1 :]
    raise ValueError(f"no end of a signature: {text}")


def _split(inside: str) -> Iterator[str]:
    """Parameters, at the commas that are in no brackets."""
    depth, begin = 0, 0
    for position, character in enumerate(inside):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            yield inside[begin:position].strip()
            begin = position + 1
    yield inside[begin:].strip()


def class_text(entry: Entry, found: Class) -> Iterator[str]:
    """A class as its section."""
    yield f"## `{entry.shown}`"
    constructor = found.constructor if _is_made(found) else None
    if constructor is not None:
        called = constructor.signature.removesuffix(" -> None").removeprefix("__init__")
        yield signature(f"{entry.name}{called}")
    yield prose(found.doc)
    if constructor is not None:
        yield prose(constructor.doc)
    if found.attributes:
        yield attribute_table(found.attributes)
    for method in found.methods:
        yield from callee_text(method)


def _is_made(found: Class) -> bool:
    """Whether applications call its constructor: those explain their arguments."""
    return found.constructor is not None and bool(found.constructor.doc)


def callee_text(callee: Callee, level: str = "###") -> Iterator[str]:
    """A function or method as its section."""
    yield f"{level} `{callee.name}`"
    yield signature(callee.signature)
    yield prose(callee.doc)


def attribute_table(attributes: tuple[Attribute, ...]) -> str:
    """Attributes as a table; the column of defaults only where there is one."""
    has_defaults = any(each.default for each in attributes)
    head = ["name", "type", *(["default"] if has_defaults else []), "meaning"]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for each in attributes:
        cells = [f"`{each.name}`", f"`{each.annotation}`" if each.annotation else ""]
        if has_defaults:
            cells.append(f"`{each.default}`" if each.default else "")
        cells.append(" ".join(each.doc.split()))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def error_table() -> str:
    """The table of reasons."""
    rows = ["| reason | class | gRPC status | retriable | meaning |", "|---|---|---|---|---|"]
    for reason, kind in error_classes().items():
        if kind.__module__ != OttlaError.__module__:
            continue  # whoever subclasses adds to the table of the process
        retriable = "yes" if kind.retriable else "no"
        if kind.retriable and kind.refresh_metadata:
            retriable = "after new metadata"
        meaning = " ".join((kind.__doc__ or "").split())
        status = kind.status.name
        rows.append(f"| `{reason}` | `{kind.__name__}` | {status} | {retriable} | {meaning} |")
    return "\n".join(rows)


def page_text(page: Page) -> str:
    """A whole page."""
    parts = [f"# {page.title}", prose(page.text)]
    for entry in page.entries:
        if entry.name[0].islower():
            parts += callee_text(read_function(entry.module, entry.name), "##")
        else:
            parts += class_text(entry, read_class(entry.module, entry.name))
    if page.title == "Errors":
        parts += [
            "## Reasons",
            "Classes are in `ottla.protocol.errors`; programs decide on the class or on `reason`.",
            error_table(),
        ]
    return _NOTE + "\n\n".join(part for part in parts if part) + "\n"


def undocumented() -> list[str]:
    """Public names that no page has."""
    shown = {entry.shown for page in PAGES.values() for entry in page.entries} | {"ottla.blocking"}
    public = [f"ottla.{name}" for name in ottla.__all__]
    public += [f"ottla.blocking.{name}" for name in ottla.blocking.__all__]
    public += [f"ottla.testing.{name}" for name in ottla.testing.__all__]
    return sorted(set(public) - shown)


def pages() -> dict[str, str]:
    """Every page's text by its file's name.

    Raises:
        SystemExit: a public name is on none.
    """
    if missing := undocumented():
        raise SystemExit(f"on no page of the reference: {', '.join(missing)}")
    assert issubclass(ottla.OttlaError, OttlaError)
    texts = {name: page_text(page) for name, page in PAGES.items()}
    links = [f"- [{page.title}]({name})" for name, page in PAGES.items()]
    index = "# Reference of the Python client\n\nFrom the docstrings of the code.\n\n"
    return {"README.md": _NOTE + index + "\n".join(links) + "\n", **texts}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when a page is stale")
    texts = pages()
    if parser.parse_args().check:
        stale = [
            name
            for name, text in texts.items()
            if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
        ]
        print("\n".join([*(f"stale: {name}" for name in stale), f"{len(texts)} pages"]))
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
