"""OCAPI documents as XML, and requests that are XML; the form is our own.

The original service has an XML form without a public description. Here the root is
the type of the document, each key is an element, ``_v``, ``_type`` and
``_resource_state`` are attributes, and a list is an element with ``element`` in it.
"""

from typing import Any
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from middlewared_dialects.ocapi.documents import Document

__all__ = ["read_xml", "write_xml"]

_ATTRIBUTES = {"_v": "version", "_type": "type", "_resource_state": "resource_state"}
ITEM = "element"


def write_xml(document: Document) -> bytes:
    """Write a document as XML, UTF-8."""
    if "fault" in document:
        root = Element("fault")
        _fill(root, {"_v": document["_v"], **document["fault"]})
    else:
        root = Element(document.get("_type", "document"))
        _fill(root, document)
    written: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return written


def _fill(element: Element, value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _ATTRIBUTES:
                element.set(name, str(inner))
            else:
                _fill(SubElement(element, name), inner)
    elif isinstance(value, list):
        for inner in value:
            _fill(SubElement(element, ITEM), inner)
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    elif value is not None:
        element.text = _clean(str(value))


def _clean(text: str) -> str:
    """Leave out what XML 1.0 has no form for (section 2.2)."""
    return "".join(c for c in text if c >= " " or c in "\t\n\r")


def read_xml(body: bytes) -> Any:
    """Read a request; texts stay texts.

    Raises:
        ValueError: it is no XML, or has entities or a document type, which are refused.
    """
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, UnicodeError, LookupError) as exc:
        raise ValueError(f"The body is no XML that is read here: {exc}") from None
    return _read(root)


def _read(element: Element) -> Any:
    children = list(element)
    if not children:
        return element.text or ""
    if all(child.tag == ITEM for child in children):
        return [_read(child) for child in children]
    return {child.tag: _read(child) for child in children}
