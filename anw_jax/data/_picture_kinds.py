"""Which files are pictures that are not read here, by their ending or by their first bytes."""

# Endings of pictures, by what they are; photos that are read have those of `_photo_files`.
_KINDS = {
    "GIF": "gif giff",
    "BMP": "bmp dib rle",
    "TIFF": "tif tiff",
    "HEIF": "heic heif heics heifs hif avif avifs",
    "JPEG under an ending that is not read": "jfif jpe jif jfi jpg_large",
    "JPEG 2000, XL, XR or XS": "jp2 j2k j2c jpc jpf jpx jpm jxl jxr wdp hdp jxs",
    "PNG under an ending that is not read": "apng",
    "several pictures in one file": "mpo jps pns",
    "a file of an image editor": "psd psb xcf kra ora afphoto pdn clip",
    "a drawing": "svg svgz ai eps",
    "RAW": (
        "3fr ari arw bay cap cr2 cr3 craw crw dcr dcs dng drf eip erf fff gpr iiq k25 kdc mdc "
        "mef mos mrw nef nrw orf pef ptx pxn r3d raf raw rw2 rwl rwz sr2 srf srw x3f"
    ),
    "a picture of a kind that is not read": (
        "cin cur dcx dds dpx exr fits flif hdr icns ico insp jng mng pam pbm pcx pfm pgm pic "
        "pict pnm ppm qoi ras rgb rgba sgi tga wbmp xbm xpm"
    ),
}
_KIND_OF_ENDING = {
    f".{ending}": kind for kind, endings in _KINDS.items() for ending in endings.split()
}

# First bytes of the commonest kinds: a picture need not be named as one.
_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"8BPS",
    b"\xff\x0a",
    b"\0\0\0\x0cJXL \r\n\x87\n",
    b"\0\0\0\x0cjP  \r\n\x87\n",
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ")

# So many bytes decide.
HEAD = 16


def kind_of_ending(ending: str) -> str:
    """What a file with this ending (lower case, with its dot) is; "" if no picture.

    Example:
      >>> kind_of_ending(".heic"), kind_of_ending(".txt")
      ('HEIF', '')
    """
    return _KIND_OF_ENDING.get(ending, "")


def is_picture(head: bytes) -> bool:
    """Whether a file that begins like this is a picture.

    Example:
      >>> is_picture(b"GIF89a..."), is_picture(b"file,label")
      (True, False)
    """
    in_riff = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    in_heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
    is_bmp = head[:2] == b"BM" and head[6:10] == bytes(4)
    return in_riff or in_heif or is_bmp or head.startswith(_SIGNATURES)
