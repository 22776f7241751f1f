"""XMP packets in two parts for JPEG: what fits into one segment, and extended XMP for the rest. XMP part 3, 1.1.3.1."""

from __future__ import annotations

from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from media.images.rdf import RDF, Packet, name

NOTE = "http://ns.adobe.com/xmp/note/"
PLACEHOLDER = b"0" * 32
"""Stands for the extension's MD5 in the main packet until the extension is written."""
_ROOM = 400
"""Bytes kept free for the announcement of the extension."""


def split(packet: bytes, most: int) -> tuple[bytes, bytes]:
    """Return (main packet of at most `most` bytes, extension). The longest properties go first, so that titles and names stay in the main one.

    Raises ValueError for a packet that is broken or cannot be brought under `most`.
    """
    tree = Packet(packet)
    moved = Element(name(RDF, "Description"), {name(RDF, "about"): ""})
    parts = sorted(tree.properties(), key=_length, reverse=True)
    size = len(tree.encode())
    for description, element, key in parts:
        if size <= most - _ROOM:
            break
        if element is None:
            moved.attrib[key] = description.attrib.pop(key)
        else:
            description.remove(element)
            moved.append(element)
        size = len(tree.encode())
    if size > most - _ROOM:
        raise ValueError("its parts are too many")
    first = next(iter(tree.root.iter(name(RDF, "Description"))), None)
    if first is None:
        raise ValueError("it has no description")
    tree.prefixes.setdefault(NOTE, "xmpNote")
    first.attrib[name(NOTE, "HasExtendedXMP")] = PLACEHOLDER.decode()
    main = tree.encode()
    meta = Element("{adobe:ns:meta/}xmpmeta")
    ET.register_namespace("x", "adobe:ns:meta/")
    rdf = ET.SubElement(meta, name(RDF, "RDF"))
    rdf.append(moved)
    return main, ET.tostring(meta, "utf-8", xml_declaration=False)


def _length(part: tuple[Element, Element | None, str]) -> int:
    description, element, key = part
    return len(description.attrib[key]) if element is None else len(ET.tostring(element, "utf-8"))


def join(packet: bytes, extension: bytes) -> bytes:
    """Return the packet with the extension's properties in it, and without the announcement. Raises ValueError when either is broken."""
    main, more = Packet(packet), Packet(extension)
    holder = next(iter(main.root.iter(name(RDF, "RDF"))), None)
    if holder is None:
        raise ValueError("no RDF")
    for description in [child for rdf in more.root.iter(name(RDF, "RDF")) for child in rdf]:
        holder.append(description)
    for description in main.root.iter(name(RDF, "Description")):
        description.attrib.pop(name(NOTE, "HasExtendedXMP"), None)
        for child in description.findall(name(NOTE, "HasExtendedXMP")):
            description.remove(child)
    for uri, prefix in more.prefixes.items():
        main.prefixes.setdefault(uri, prefix)
    return main.encode()
