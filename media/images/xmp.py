"""XMP packets: telling them of the enhancement without disturbing what they say already. XMP specification parts 1 and 2."""

from __future__ import annotations

import re
from xml.parsers import expat
from xml.sax.saxutils import escape

from contract import provenance
from contract.provenance import Making
from contract.severity import Loss

NAMESPACE = "urn:respool:provenance:1"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC NewsCodes, Digital Source Type: what became of a picture that a camera or a scanner took."""
_ABOUT = re.compile(rb"""<rdf:Description\b[^>]*?\brdf:about\s*=\s*(["'])(.*?)\1""", re.S)
_END = b"</rdf:RDF>"


def told(packet: bytes | None, made: Making) -> tuple[bytes, list[str]]:
    """`packet` (None for none) with a description of the enhancement, and notes.

    A packet that is not well-formed XML, or declares entities, is replaced, with a note.
    """
    notes: list[str] = []
    if packet is not None and not _sound(packet):
        notes.append(Loss("the XMP packet is broken and was replaced"))
        packet = None
    if packet is None:
        return _new(made), notes
    found = _ABOUT.search(packet)
    at = packet.rfind(_END)
    about = found.group(2) if found else b""
    declared = b"DigitalSourceType" in packet
    if declared:
        packet, changed = _redeclared(packet, made)
        at = packet.rfind(_END)
        if changed:
            notes.append(
                "the digital source type in XMP was changed: the picture is no longer what the camera recorded"
            )
    return packet[:at] + _description(made, about.decode(), declare=not declared) + packet[at:], notes


def found(packet: bytes | None) -> Making | None:
    """Return what `told` wrote into a packet; None when it did not."""
    if packet is None:
        return None
    match = re.search(rb"<respool:record>(.*?)</respool:record>", packet, re.S)
    if match is None:
        return None
    plain = match.group(1)
    for mark, character in ((b"&lt;", b"<"), (b"&gt;", b">"), (b"&amp;", b"&")):
        plain = plain.replace(mark, character)
    return provenance.read(plain)


def _sound(packet: bytes) -> bool:
    """Return True for XML that can be added to: well-formed, in UTF-8, without a document type, with one rdf:RDF."""
    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet or _END not in packet:
        return False
    try:
        expat.ParserCreate(namespace_separator=" ").Parse(packet.strip(b"\0 \r\n\t\xef\xbb\xbf"), True)
    except expat.ExpatError:
        return False
    return True


def _source_type(made: Making) -> str:
    return _SOURCE + ("compositeWithTrainedAlgorithmicMedia" if made.generated else "algorithmicallyEnhanced")


def _redeclared(packet: bytes, made: Making) -> tuple[bytes, bool]:
    """Return a packet whose digital source type, whatever form it is written in, is the result's."""
    value = _source_type(made).encode()
    plain = re.sub(rb"(DigitalSourceType\s*=\s*)([\"'])[^\"']*\2", rb"\g<1>\g<2>" + value + rb"\g<2>", packet)
    plain = re.sub(rb"(<[\w.-]+:DigitalSourceType>)[^<]*(</)", rb"\g<1>" + value + rb"\g<2>", plain)
    return plain, plain != packet


def _description(made: Making, about: str, declare: bool) -> bytes:
    weights = "".join(f"<rdf:li>{escape(f'{w.name} {w.sha256} {w.licence}')}</rdf:li>" for w in made.ingredients)
    kind = f"<Iptc4xmpExt:DigitalSourceType>{_source_type(made)}</Iptc4xmpExt:DigitalSourceType>" if declare else ""
    return (
        f'<rdf:Description rdf:about="{about}" xmlns:respool="{NAMESPACE}" xmlns:Iptc4xmpExt="{_IPTC}">'
        f"{kind}<respool:statement>{escape(made.statement)}</respool:statement>"
        f"<respool:sourceSha256>{made.source_sha256}</respool:sourceSha256>"
        f"<respool:weights><rdf:Bag>{weights}</rdf:Bag></respool:weights>"
        f"<respool:record>{escape(provenance.text(made))}</respool:record></rdf:Description>"
    ).encode()


def _new(made: Making) -> bytes:
    body = _description(made, "", declare=True).decode()
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{_RDF}">{body}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
