"""A record as PREMIS 3.0 XML (Library of Congress, January 2016): two files, the event between them, and its agents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import msgspec

from contract.provenance import Ingredient
from orchestrator.result_record import FileFacts, Record

NAMESPACE = "http://www.loc.gov/premis/v3"
SCHEMA = "http://www.loc.gov/standards/premis/premis.xsd"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_EVENTS = "http://id.loc.gov/vocabulary/preservation/eventType/"
_FORMATS = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".tif": "image/tiff", ".tiff": "image/tiff",
    ".webp": "image/webp", ".avif": "image/avif", ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime",
    ".mkv": "video/x-matroska", ".webm": "video/webm", ".ts": "video/mp2t", ".avi": "video/x-msvideo", ".mxf": "application/mxf",
}  # fmt: skip
"""IANA media types by suffix; a file of another kind is called application/octet-stream."""
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 cannot hold, escaped or not."""

Element = ElementTree.Element
ElementTree.register_namespace("premis", NAMESPACE)
ElementTree.register_namespace("xsi", _XSI)


def premis(records: Sequence[Record]) -> bytes:
    """Build a PREMIS document (UTF-8) about one or more `records` of one job, its elements in the schema's order."""
    root = Element(f"{{{NAMESPACE}}}premis", {"version": "3.0"})
    root.set(f"{{{_XSI}}}schemaLocation", f"{NAMESPACE} {SCHEMA}")
    for record in records:
        _file(root, record, record.source, "source")
        _file(root, record, record.result, "result")
        if record.masks is not None:
            _file(root, record, record.masks, "masks")
    for record in records:
        _event(root, record)
    agents = {w.sha256: w for record in records for w in record.ingredients}
    _program(root, records[0])
    for ingredient in agents.values():
        _weights(root, ingredient)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _add(parent: Element, name: str, text: str | None = None, **attributes: str) -> Element:
    child = ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
    if text is not None:
        child.text = _FORBIDDEN.sub("�", text)
    return child


def _identified(parent: Element, kind: str, what: str, value: str) -> None:
    """Add an identifier element such as eventIdentifier, with its type and value."""
    identifier = _add(parent, kind)
    _add(identifier, f"{kind}Type", what)
    _add(identifier, f"{kind}Value", value)


def _name(record: Record, part: str) -> str:
    return f"{record.job}/{record.item}/{part}"


def _file(root: Element, record: Record, facts: FileFacts, part: str) -> None:
    file = _add(root, "object")
    file.set(f"{{{_XSI}}}type", "premis:file")
    _identified(file, "objectIdentifier", "Respool", _name(record, part))
    if part == "result":
        significant = _add(file, "significantProperties")
        _add(significant, "significantPropertiesType", "generated detail")
        _add(significant, "significantPropertiesValue", record.statement)
    characteristics = _add(file, "objectCharacteristics")
    fixity = _add(characteristics, "fixity")
    _add(fixity, "messageDigestAlgorithm", "SHA-256")
    _add(fixity, "messageDigest", facts.sha256)
    _add(characteristics, "size", str(facts.size))
    designation = _add(_add(characteristics, "format"), "formatDesignation")
    suffix = facts.name[facts.name.rfind(".") :].lower() if "." in facts.name else ""
    _add(designation, "formatName", _FORMATS.get(suffix, "application/octet-stream"))
    _add(file, "originalName", facts.name)
    if part != "source":
        relationship = _add(file, "relationship")
        _add(relationship, "relationshipType", "derivation")
        _add(relationship, "relationshipSubType", "has source")
        _identified(relationship, "relatedObjectIdentifier", "Respool", _name(record, "source"))
        _identified(relationship, "relatedEventIdentifier", "Respool", _name(record, "event"))
    linking = _add(file, "linkingEventIdentifier")
    _add(linking, "linkingEventIdentifierType", "Respool")
    _add(linking, "linkingEventIdentifierValue", _name(record, "event"))


def _event(root: Element, record: Record) -> None:
    event = _add(root, "event")
    _identified(event, "eventIdentifier", "Respool", _name(record, "event"))
    _add(event, "eventType", "modification", authority="eventType", valueURI=_EVENTS + "mod")
    _add(event, "eventDateTime", record.finished or record.submitted)
    detail = _add(event, "eventDetailInformation")
    said = {"statement": record.statement, "parameters": record.parameters, "submitted": record.submitted}
    chunks = msgspec.to_builtins(record.chunks)
    _add(detail, "eventDetail", msgspec.json.encode(said | {"chunks": chunks}, order="deterministic").decode())
    outcome = _add(event, "eventOutcomeInformation")
    _add(outcome, "eventOutcome", "warning" if record.damage else "success")
    film = record.kind == "video"
    lines = [f"{d.where}: {d.reason}" if film else d.reason for d in record.damage]
    lines += record.notes
    for line in lines:
        _add(_add(outcome, "eventOutcomeDetail"), "eventOutcomeDetailNote", line)
    _agent_link(event, record.software, "executing program")
    for ingredient in record.ingredients:
        _agent_link(event, f"sha256:{ingredient.sha256}", "model weights")
    masks = [("masks", "outcome")] if record.masks is not None else []
    for part, role in (("source", "source"), ("result", "outcome"), *masks):
        linking = _add(event, "linkingObjectIdentifier")
        _add(linking, "linkingObjectIdentifierType", "Respool")
        _add(linking, "linkingObjectIdentifierValue", _name(record, part))
        _add(linking, "linkingObjectRole", role)


def _agent_link(event: Element, value: str, role: str) -> None:
    linking = _add(event, "linkingAgentIdentifier")
    _add(linking, "linkingAgentIdentifierType", "Respool")
    _add(linking, "linkingAgentIdentifierValue", value)
    _add(linking, "linkingAgentRole", role)


def _program(root: Element, record: Record) -> None:
    agent = _add(root, "agent")
    _identified(agent, "agentIdentifier", "Respool", record.software)
    name, _, number = record.software.partition(" ")
    _add(agent, "agentName", name)
    _add(agent, "agentType", "software")
    _add(agent, "agentVersion", number)
    for package, release in sorted({(k, v) for chunk in record.chunks for k, v in chunk.versions.items()}):
        _add(agent, "agentNote", f"{package} {release}")


def _weights(root: Element, ingredient: Ingredient) -> None:
    agent = _add(root, "agent")
    _identified(agent, "agentIdentifier", "Respool", f"sha256:{ingredient.sha256}")
    _add(agent, "agentName", ingredient.name)
    _add(agent, "agentType", "software")
    _add(agent, "agentNote", f"weights used as {ingredient.role}; licence {ingredient.licence}")
    if ingredient.origin:
        _add(agent, "agentNote", f"made by {ingredient.origin}")
