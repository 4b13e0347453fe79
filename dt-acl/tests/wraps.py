#!/usr/bin/env python3
"""Comes to the known answers of key wrapping by the specifications alone: X25519 (RFC 7748), ChaCha20-Poly1305 (RFC 8439) and BLAKE3, each
in the shortest form. Nothing here is shared with the code that it checks, and nothing but Python's standard library is needed.

Reads the file that it is given: values as `name: hex`, in sections that begin with `# title`. Says how many checks it made, or which one
failed. First it checks itself against the vectors of the specifications.
"""

import struct
import sys


# X25519, RFC 7748, section 5: slow, and nothing is secret here.
P = 2**255 - 19


def x25519(scalar, point):
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    u = int.from_bytes(point, "little") & (2**255 - 1)
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


BASE = (9).to_bytes(32, "little")

M = 0xFFFFFFFF


# ChaCha20-Poly1305, RFC 8439, section 2.
def rotl(x, n):
    return (x << n | x >> 32 - n) & M


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = s[x] + s[y] & M
        s[z] = rotl(s[z] ^ s[x], n)


def chacha_block(key, counter, nonce):
    start = struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce)
    s = list(start)
    for _ in range(10):
        for q in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(s, *q)
        for q in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(s, *q)
    return struct.pack("<16I", *(x + y & M for x, y in zip(s, start)))


def chacha(key, nonce, data):
    blocks = (chacha_block(key, 1 + at // 64, nonce) for at in range(0, len(data), 64))
    return bytes(x ^ y for x, y in zip(data, b"".join(blocks)))


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    tag = 0
    for at in range(0, len(message), 16):
        tag = (tag + int.from_bytes(message[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return (tag + int.from_bytes(key[16:], "little") & 2**128 - 1).to_bytes(16, "little")


def tag_of(key, nonce, sealed, data):
    pad = lambda text: text + bytes(-len(text) % 16)
    lengths = struct.pack("<QQ", len(data), len(sealed))
    return poly1305(chacha_block(key, 0, nonce)[:32], pad(data) + pad(sealed) + lengths)


def seal(key, plain, nonce=bytes(12), data=b""):
    sealed = chacha(key, nonce, plain)
    return sealed + tag_of(key, nonce, sealed, data)


def opens(key, sealed):
    return tag_of(key, bytes(12), sealed[:-16], b"") == sealed[-16:]


# BLAKE3 for up to 1,024 bytes: one chunk, which is the root.
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, ROOT, DERIVE_CONTEXT, DERIVE_MATERIAL = 1, 2, 8, 32, 64


def mix(s, a, b, c, d, x, y):
    for word, left, right in ((x, 16, 12), (y, 8, 7)):
        s[a] = s[a] + s[b] + word & M
        s[d] = rotl(s[d] ^ s[a], 32 - left)
        s[c] = s[c] + s[d] & M
        s[b] = rotl(s[b] ^ s[c], 32 - right)


def compress(chain, block, length, flags):
    m = struct.unpack("<16I", block)
    s = [*chain, *IV[:4], 0, 0, length, flags]
    for _ in range(7):
        mix(s, 0, 4, 8, 12, m[0], m[1])
        mix(s, 1, 5, 9, 13, m[2], m[3])
        mix(s, 2, 6, 10, 14, m[4], m[5])
        mix(s, 3, 7, 11, 15, m[6], m[7])
        mix(s, 0, 5, 10, 15, m[8], m[9])
        mix(s, 1, 6, 11, 12, m[10], m[11])
        mix(s, 2, 7, 8, 13, m[12], m[13])
        mix(s, 3, 4, 9, 14, m[14], m[15])
        m = [m[at] for at in ORDER]
    return [x ^ y for x, y in zip(s[:8], s[8:])]


def blake3(data, chain=IV, mode=0):
    assert len(data) <= 1024
    blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
    for number, block in enumerate(blocks):
        flags = mode
        flags |= CHUNK_START if number == 0 else 0
        flags |= CHUNK_END | ROOT if number == len(blocks) - 1 else 0
        chain = compress(chain, block.ljust(64, b"\x00"), len(block), flags)
    return struct.pack("<8I", *chain)


def kdf(domain, secret, context=b""):
    chain = struct.unpack("<8I", blake3(domain, IV, DERIVE_CONTEXT))
    return blake3(secret + context, chain, DERIVE_MATERIAL)


def digest(domain, *parts):
    return blake3(bytes([len(domain)]) + domain + b"".join(parts))


def self_checks():
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    yield "RFC 7748, 6.1", x25519(alice, bob).hex() == shared
    key = bytes(range(0x80, 0xA0))
    nonce, data = bytes.fromhex("070000004041424344454647"), bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    )
    sealed = seal(key, plain, nonce, data)
    yield "RFC 8439, 2.8.2: tag", sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"
    yield "RFC 8439, 2.8.2: ciphertext", sealed.hex().startswith("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a7")
    yield "BLAKE3 of nothing", blake3(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    context = b"BLAKE3 2019-12-27 16:29:52 test vectors context"
    derived = "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d"
    yield "BLAKE3's key derivation", kdf(context, b"").hex() == derived


def item_checks(v):
    name = digest(b"dt/acl/item-name/v1", v["text"])
    yield "name", name == v["name"]
    yield "item", digest(b"dt/acl/item/v1", v["owner"], name) == v["item"]


def wrap_checks(v):
    yield "recipient key", x25519(v["recipient secret"], BASE) == v["recipient key"]
    yield "ephemeral key", x25519(v["ephemeral secret"], BASE) == v["ephemeral key"]
    yield "shared, as the author has it", x25519(v["ephemeral secret"], v["recipient key"]) == v["shared"]
    yield "shared, as the reader has it", x25519(v["recipient secret"], v["ephemeral key"]) == v["shared"]
    fields = ["item", "version", "epoch", "party", "recipient key", "ephemeral key"]
    context = b"".join(v[field] for field in fields)
    yield "context", context == v["context"]
    key = kdf(b"dt/acl/wrap/v1", v["shared"], context)
    yield "wrap key", key == v["wrap key"]
    yield "wrap", seal(key, v["keys"]) == v["wrap"]
    yield "it opens", opens(key, v["wrap"])
    for field in fields:
        moved = b"".join(flipped(v[other]) if other == field else v[other] for other in fields)
        yield f"with another {field} it does not", not opens(kdf(b"dt/acl/wrap/v1", v["shared"], moved), v["wrap"])


def flipped(value):
    return bytes([value[0] ^ 1]) + value[1:]


def epoch_checks(v):
    place = v["item"] + v["epoch"]
    yield "commitment", kdf(b"dt/acl/key-commitment/v1", v["key"], place) == v["commitment"]
    if "link" in v:
        key = kdf(b"dt/acl/link/v1", v["key"], place)
        yield "link key", key == v["link key"]
        yield "link", seal(key, v["former key"]) == v["link"]


def sections(lines):
    title, values = "", {}
    for line in lines:
        if line.startswith("#"):
            if values:
                yield title, values
            title, values = line[1:].strip(), {}
        elif ": " in line:
            name, value = line.rstrip("\n").split(": ")
            values[name] = bytes.fromhex(value)
    if values:
        yield title, values


def checks(path):
    yield from self_checks()
    keys = {}
    with open(path, encoding="utf-8") as lines:
        for title, v in sections(lines):
            if "text" in v:
                found = item_checks(v)
            elif "wrap" in v:
                found = wrap_checks(v)
                keys[v["epoch"]] = v["keys"][:32]
            else:
                found = epoch_checks(v)
                yield f"{title}: key", keys[v["epoch"]] == v["key"]
            for what, holds in found:
                yield f"{title}: {what}", holds


def main():
    count = 0
    for what, holds in checks(sys.argv[1]):
        if not holds:
            sys.exit(f"does not hold: {what}")
        count += 1
    print(f"{count} checks")


main()
