"""Films and pictures as bytes: opening, demuxing, decoding, codecs, containers, image formats."""
