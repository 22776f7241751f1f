"""XMP packets as trees: parsed without entities, searched by property, written back with their own prefixes. XMP part 1, 7 (RDF/XML)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_START = re.compile(rb"<(?:[\w.-]+:)?(?:xmpmeta|xapmeta)\b|<(?:[\w.-]+:)?RDF\b")
_RESERVED = re.compile(r"ns\d+$")


def name(namespace: str, local: str) -> str:
    """Return a qualified name as ElementTree writes it."""
    return f"{{{namespace}}}{local}"


class Packet:
    """The tree of one packet, with the bytes around it. Raises ValueError for what is no well-formed XML without a document type."""

    def __init__(self, packet: bytes) -> None:
        if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
            raise ValueError("a document type")
        start = _START.search(packet)
        end = packet.rfind(b">", 0, packet.rfind(b"<?xpacket end") if b"<?xpacket end" in packet else len(packet))
        if start is None or end < start.start():
            raise ValueError("no RDF")
        self._before, self._after = packet[: start.start()], packet[end + 1 :]
        self.prefixes: dict[str, str] = {}
        body = packet[start.start() : end + 1]
        try:
            events = ET.iterparse(io.BytesIO(body), ("start-ns", "start"))  # noqa: S314  # no entities: see above
            root = None
            for event, value in events:
                if event == "start-ns":
                    self.prefixes.setdefault(value[1], value[0])
                elif root is None:
                    root = value
        except ET.ParseError as error:
            raise ValueError(str(error)) from error
        if root is None:
            raise ValueError("no element")
        self.root: Element = root

    def properties(self) -> Iterator[tuple[Element, Element | None, str]]:
        """Return (description, element, qualified name) of each top-level property; the element is None for one written as an attribute."""
        for description in list(self.root.iter(name(RDF, "Description"))):
            if description not in self._top():
                continue
            for attribute in list(description.attrib):
                if not attribute.startswith(f"{{{RDF}}}") and attribute.startswith("{"):
                    yield description, None, attribute
            for child in list(description):
                yield description, child, child.tag

    def _top(self) -> list[Element]:
        return [child for rdf in self.root.iter(name(RDF, "RDF")) for child in rdf]

    def encode(self) -> bytes:
        """Return the packet with its tree as it is now."""
        for uri, prefix in self.prefixes.items():
            if prefix and prefix != "xml" and not _RESERVED.match(prefix):
                ET.register_namespace(prefix, uri)
        body: bytes = ET.tostring(self.root, "utf-8", xml_declaration=False)
        return self._before + body + self._after


def items(element: Element) -> list[Element]:
    """Return the members of a property's Bag, Seq or Alt; the property itself when it has none."""
    found = [child for box in element for child in box if box.tag in (name(RDF, k) for k in ("Bag", "Seq", "Alt"))]
    return found or [element]


def field(node: Element, key: str) -> str | None:
    """Return the text of a structure's field, written as an attribute or as an element, in the node or its rdf:Description."""
    for holder in (node, *node.findall(name(RDF, "Description"))):
        if key in holder.attrib:
            return holder.attrib[key]
        child = holder.find(key)
        if child is not None:
            return (child.text or "").strip()
    return None


def struct(node: Element, key: str) -> Element | None:
    """Return a structure's field that is a structure or an array itself."""
    for holder in (node, *node.findall(name(RDF, "Description"))):
        child = holder.find(key)
        if child is not None:
            return child
    return None


def set_field(node: Element, key: str, value: str) -> None:
    """Replace the text of a field that is there."""
    for holder in (node, *node.findall(name(RDF, "Description"))):
        if key in holder.attrib:
            holder.attrib[key] = value
            return
        child = holder.find(key)
        if child is not None:
            child.text = value
            return
