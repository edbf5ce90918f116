"""A time-stamping authority made for the tests: certificates, and responses in DER."""

import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

START = datetime.datetime(2023, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2028, 1, 1, tzinfo=datetime.UTC)
_SHA256 = "0609608648016503040201"
_HASHES = {
    "sha1": "06052b0e03021a",
    "sha256": _SHA256,
    "sha512": "0609608648016503040203",
}
_TST_INFO = "060b2a864886f70d0109100104"


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    head = size if len(body) < 128 else bytes([0x80 | len(size)]) + size
    return bytes([tag]) + head + body


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, *parts)


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(digits: str) -> bytes:
    return bytes.fromhex(digits)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject, issuer, key, signing_key, *, usage=None, critical=True, start=START, end=END
):
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(usage is None, None), critical=True)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=critical)
    return builder.sign(signing_key, hashes.SHA256())


class Authority:
    """Answers time-stamp requests.

    Args:
      usage: what its certificate is for.
      critical: whether the certificate says so in a critical extension.
      start, end: its certificate's validity.
      ca: the name of its root.
      by: an authority whose certificate, which is no root, signs this one's.
    """

    def __init__(
        self,
        usage=(ExtendedKeyUsageOID.TIME_STAMPING,),
        critical=True,
        start=START,
        end=END,
        ca="A root",
        by=None,
    ):
        root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = by.root if by else _certificate(ca, ca, root_key, root_key)
        issuer, signing_key = ("An authority", by._key) if by else (ca, root_key)
        name = "A forger" if by else "An authority"
        named = {"usage": usage, "critical": critical, "start": start, "end": end}
        self.leaf = _certificate(name, issuer, self._key, signing_key, **named)
        self.sent = [self.leaf, *(by.sent if by else [])]
        self.pem = self.root.public_bytes(Encoding.PEM)

    def answer(
        self,
        document: bytes,
        time: datetime.datetime,
        accuracy: int = 1,
        algorithm: str = "sha256",
        policy: str = "06022a03",
        nonce: int | None = None,
    ) -> bytes:
        """A response that stamps a document, with an accuracy in seconds."""
        imprint = _sequence(
            _sequence(_oid(_HASHES[algorithm]), _der(0x05)),
            _der(0x04, hashlib.new(algorithm, document).digest()),
        )
        info = _sequence(
            _integer(1),
            _oid(policy),
            imprint,
            _integer(7),
            _der(0x18, time.strftime("%Y%m%d%H%M%SZ").encode()),
            _sequence(_integer(accuracy)),
            b"" if nonce is None else _integer(nonce),
        )
        return _sequence(_sequence(_integer(0)), self._signed(info))

    def _signed(self, info: bytes) -> bytes:
        algorithm = _sequence(_oid(_SHA256))
        leaf = self.leaf.public_bytes(Encoding.DER)
        own = _sequence(_sequence(_sequence(_der(0x04, hashlib.sha256(leaf).digest()))))
        attributes = b"".join(
            sorted(
                (
                    _sequence(_oid("06092a864886f70d010903"), _der(0x31, _oid(_TST_INFO))),
                    _sequence(
                        _oid("06092a864886f70d010904"),
                        _der(0x31, _der(0x04, hashlib.sha256(info).digest())),
                    ),
                    _sequence(_oid("060b2a864886f70d010910022f"), _der(0x31, own)),
                )
            )
        )
        signature = self._key.sign(_der(0x31, attributes), ec.ECDSA(hashes.SHA256()))
        signer = _sequence(
            _integer(1),
            _sequence(self.leaf.issuer.public_bytes(), _integer(self.leaf.serial_number)),
            algorithm,
            _der(0xA0, attributes),
            _sequence(_oid("06082a8648ce3d040302")),
            _der(0x04, signature),
        )
        return _sequence(
            _oid("06092a864886f70d010702"),
            _der(
                0xA0,
                _sequence(
                    _integer(3),
                    _der(0x31, algorithm),
                    _sequence(_oid(_TST_INFO), _der(0xA0, _der(0x04, info))),
                    _der(0xA0, *sorted(one.public_bytes(Encoding.DER) for one in self.sent)),
                    _der(0x31, signer),
                ),
            ),
        )


def refusal() -> bytes:
    """The response of an authority that refuses."""
    return _sequence(_sequence(_integer(2), _sequence(_der(0x0C, b"try later"))))
