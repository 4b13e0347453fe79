#!/usr/bin/env python3
"""Checks what the crate says of a log, from the specifications alone: RFC 6962, RFC 9162, RFC 8032 and C2SP's signed notes and
checkpoints. Nothing here is shared with the code that it checks, and nothing but Python's standard library is needed.

Reads one JSON document:

    {"leaves": [hex], "roots": [[size, hex]],
     "inclusion":   [{"index": n, "size": n, "hashes": [hex], "holds": bool}],
     "consistency": [{"from": n, "to": n, "hashes": [hex], "holds": bool}],
     "notes": [{"note": text, "keys": ["name+id+base64"], "signers": n, "checkpoint": {...} or null}]}

and says how many checks it made, or which one failed.
"""

import base64
import hashlib
import json
import sys


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf_hash(leaf):
    return sha256(b"\x00" + leaf)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


def tree_hash(leaves):
    """RFC 6962, section 2.1."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node_hash(tree_hash(leaves[:k]), tree_hash(leaves[k:]))


def included(index, size, leaf, path, root):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def consistent(first, second, path, old, new):
    """RFC 9162, section 2.1.4.2; and for what it leaves out: equal sizes need equal roots, anything begins with nothing."""
    if first > second:
        return False
    if first == second:
        return not path and old == new
    if first == 0:
        return not path and old == sha256(b"")
    if first & (first - 1) == 0:
        path = [old] + path
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old and sr == new


# Ed25519, RFC 8032, section 5.1, in affine coordinates: slow, and nothing is secret here.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    return ((x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P)


def times(n, point):
    sum_ = (0, 1)
    while n:
        if n & 1:
            sum_ = add(sum_, point)
        point, n = add(point, point), n >> 1
    return sum_


def point_of(data):
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - x2) % P or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x, y)


BASE = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def signed(key, message, signature):
    a, r = point_of(key), point_of(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    return times(s, BASE) == add(r, times(k, a))


def signers(note, keys):
    """How many of the keys signed (c2sp.org/signed-note); None if a signature by one of them does not verify."""
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    known, found = {}, set()
    for key in keys:
        name, key_id, public = key.split("+", 2)
        public = base64.b64decode(public, validate=True)
        if sha256(name.encode() + b"\n" + public)[:4].hex() != key_id or public[0] != 1:
            return None
        known[(name, key_id)] = public[1:]
    for line in lines.splitlines():
        dash, name, signature = line.split(" ")
        signature = base64.b64decode(signature, validate=True)
        signer = (name, signature[:4].hex())
        if dash != "\u2014" or (signer in known and not signed(known[signer], text.encode(), signature[4:])):
            return None
        if signer in known:
            found.add(signer)
    return len(found)


def checkpoint(note):
    """c2sp.org/tlog-checkpoint, with the extension lines of dt-ledger."""
    origin, size, root, *extensions = note.rpartition("\n\n")[0].split("\n")
    hexed = lambda text: base64.b64decode(text, validate=True).hex()
    fields = dict(line.split(" ") for line in extensions)
    return {
        "origin": origin,
        "size": int(size),
        "root": hexed(root),
        "height": int(fields["height"]),
        "block": hexed(fields["block"]),
        "state": hexed(fields["state"]),
        "receipts": hexed(fields["receipts"]),
    }


# The leaves that the Certificate Transparency project tests with, and the root over all eight.
KNOWN_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
KNOWN_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def checks(said):
    yield "the known root", tree_hash([bytes.fromhex(leaf) for leaf in KNOWN_LEAVES]).hex() == KNOWN_ROOT
    leaves = [bytes.fromhex(leaf) for leaf in said["leaves"]]
    roots = {}
    root_of = lambda size: roots.setdefault(size, tree_hash(leaves[:size]))
    for size, root in said["roots"]:
        yield f"root of {size}", root_of(size).hex() == root
    for p in said["inclusion"]:
        path = [bytes.fromhex(hash_) for hash_ in p["hashes"]]
        leaf = leaf_hash(leaves[p["index"]])
        yield f"inclusion {p}", included(p["index"], p["size"], leaf, path, root_of(p["size"])) == p["holds"]
    for p in said["consistency"]:
        path = [bytes.fromhex(hash_) for hash_ in p["hashes"]]
        holds = consistent(p["from"], p["to"], path, root_of(p["from"]), root_of(p["to"]))
        yield f"consistency {p}", holds == p["holds"]
    for n in said["notes"]:
        yield f"signers of {n['note']}", signers(n["note"], n["keys"]) == n["signers"]
        if n["checkpoint"] is not None:
            yield f"checkpoint {n['note']}", checkpoint(n["note"]) == n["checkpoint"]


def main():
    count = 0
    for what, holds in checks(json.load(sys.stdin)):
        if not holds:
            sys.exit(f"does not hold: {what}")
        count += 1
    print(f"{count} checks")


main()
