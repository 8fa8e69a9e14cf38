"""The mark that a picture was made by a model: IPTC's DigitalSourceType, in an XMP packet."""

from __future__ import annotations

from xml.sax.saxutils import escape

from common.infotext import FARM_KEY

#: Of IPTC's vocabulary of digital source types.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
#: Where XMP stands in a PNG file, by its standard.
PNG_KEY = "XML:com.adobe.xmp"

_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType></rdf:Description>"
    '{record}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_RECORD = (
    '<rdf:Description rdf:about="" xmlns:{key}="urn:{key}:1">'
    "<{key}:shot>{text}</{key}:shot></rdf:Description>"
)

#: The packet of a picture whose metadata says nothing else.
MARK = _PACKET.format(record="").encode()


def marked(record: str) -> bytes:
    """The packet of a picture with the farm's JSON of its shot."""
    return _PACKET.format(record=_RECORD.format(key=FARM_KEY, text=escape(record))).encode()


def has_mark(content: bytes) -> bool:
    """Whether a file says that a model made its picture, whichever program wrote that."""
    return SOURCE_TYPE.encode() in content
