"""A verifier for cases and bundles of Sakshi, written from docs/evidence-format.md alone.

It is here to try that text, and to be read: Python's standard library, nothing else.

Usage: verifier.py CASE|BUNDLE [HEAD-CODE]
Prints a result and ends with 0 (intact), 1 (damaged) or 4 (incomplete).
"""

import datetime
import hashlib
import json
import os
import re
import shutil
import sqlite3
import stat
import sys
import tempfile
import zlib

SCHEMA = os.path.join(os.path.dirname(__file__), "..", "docs", "evidence-schema.sql")


class Damaged(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Damaged(what)


# Ed25519, RFC 8032, 5.1.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        return None
    return P - x if x & 1 != sign else x


def add(a, b):
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    return (f - e) * (h - g) % P, (h + g) * (f + e) % P, (h - g) * (h + g) % P, (f - e) * (f + e) % P


def times(number, point):
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def point(data):
    number = int.from_bytes(data, "little")
    y = number & ((1 << 255) - 1)
    x = recover_x(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def signature_is_right(public, message, signature):
    a, r = point(public), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    left = times(s, BASE)
    right = add(r, times(int.from_bytes(digest, "little") % ORDER, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# Canonical JSON.


def pairs(items):
    need(len(dict(items)) == len(items), "a key stands twice")
    return dict(items)


def no_fraction(text):
    raise Damaged(f"{text} is no integer")


def canonical(value):
    def check(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                need(all(0x20 <= ord(sign) <= 0x7E for sign in key), "a key that is not ASCII")
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)
        elif isinstance(value, int) and not isinstance(value, bool):
            need(-(2**63) <= value < 2**64, "an integer beyond 64 bits")

    check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_json(text):
    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_float=no_fraction, parse_constant=no_fraction)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {error}") from error
    need(canonical(value) == text, "not canonical")
    return value


def unhex(text, length):
    need(isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{2 * length}}}", text), "no hex digits")
    return bytes.fromhex(text)


# A journal block.


class Block:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, length):
        need(self.at + length <= len(self.raw), "a journal block ends within an input")
        self.at += length
        return self.raw[self.at - length : self.at]

    def integer(self, bits=64):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            need(not (byte == 0 and shift), "an integer is padded")
            if byte < 0x80:
                break
            shift += 7
            need(shift < 70, "an integer is too long")
        need(value < 2**bits, "an integer is too large")
        return value

    def signed(self):
        value = self.integer()
        return value >> 1 ^ -(value & 1)


def wrap(value):
    return (value + 2**63) % 2**64 - 2**63


def time_text(nanos):
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=nanos // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def count_block(data, body):
    need(data is not None and data[:4] == b"SKJ\x01", "no journal block")
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data[4:], 17039361)
    except zlib.error as error:
        raise Damaged(f"journal block: {error}") from error
    need(stream.eof and not stream.unused_data and len(raw) <= 17039360, "a journal block of wrong length")
    block, nanos, inputs, packets, times_seen = Block(raw), 0, 0, 0, []
    while block.at < len(raw):
        inputs += 1
        tag = block.take(1)[0]
        nanos = wrap(nanos + block.signed())
        times_seen.append(nanos)
        if tag == 1:
            packets += 1
            flags, link = block.take(2)
            need(flags < 64 and flags & 3 < 3 and flags >> 2 & 3 < 3, "unknown flags")
            need(link <= 9 or link == 255, "unknown link type")
            if link == 255:
                block.integer(16)
            for bit in (16, 32):
                if flags & bit:
                    block.integer(32)
            block.integer(16)
            block.signed()
            block.integer(32)
            captured, kept = block.integer(), block.integer()
            need(kept <= captured, "more kept than captured")
            block.take(kept)
        else:
            need(tag == 2, "an unknown tag")
            try:
                event = read_json(block.take(block.integer()).decode())
            except UnicodeDecodeError as error:
                raise Damaged("an event is not UTF-8") from error
            need(isinstance(event, dict) and len(event) == 1, "an event has one key")
            (value,) = event.values()
            at = value.get("at") if isinstance(value, dict) else value
            need(at == time_text(nanos), "an event's times differ")
    found = {
        "from": time_text(min(times_seen, default=0)),
        "inputs": inputs,
        "packets": packets,
        "raw_len": len(raw),
        "to": time_text(max(times_seen, default=0)),
        "version": 1,
    }
    for key, value in found.items():
        need(body[key] == value, f"a journal record's {key} is not its block's")


# Heads.


def polymod(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            if top >> bit & 1:
                check ^= term
    return check


def read_head(code):
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    text = code.upper().replace("-", "").replace(" ", "").replace("I", "1").replace("L", "1").replace("O", "0")
    digits = [alphabet.index(sign) for sign in text]
    prefix = [ord(sign) >> 5 for sign in "sakshi"] + [0] + [ord(sign) & 31 for sign in "sakshi"]
    if len(digits) != 40 or polymod(prefix + digits) != 0x2BC830A3:
        sys.exit("the code has a slip")
    number = 0
    for digit in digits[:34]:
        number = number << 5 | digit
    data = (number >> 2).to_bytes(21, "big")
    return int.from_bytes(data[:5], "big"), data[5:]


# A case.


class Folder:
    """The files of a case in a folder."""

    def __init__(self, path):
        self.path = path

    def content(self, name):
        path = os.path.join(self.path, name)
        try:
            need(stat.S_ISREG(os.lstat(path).st_mode), f"{name} is no ordinary file")
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise Damaged(f"{name}: {error}") from error


class Unpacked:
    """The files of a case that came in a bundle."""

    def __init__(self, files):
        self.files = files

    def content(self, name):
        need(name in self.files, f"{name} is missing")
        return self.files[name]


def part_name(number):
    return "evidence.db" if number == 1 else f"evidence-{number:06}.db"


def part_number(name):
    if name == "evidence.db":
        return 1
    digits = re.fullmatch("evidence-([0-9]{6,})[.]db", name)
    number = int(digits[1]) if digits else 0
    return number if number > 1 and part_name(number) == name else None


def check_database(connection, number):
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    need(application == 1397445448 and version in (1, 2), "another application_id or user_version")
    with open(SCHEMA, encoding="utf-8") as file:
        text = file.read()
    expected = text.splitlines()
    found = [row[0] or "" for row in connection.execute("SELECT sql FROM sqlite_schema")]
    if number > 1:
        need(expected[0] in found, "the table is another")
        (first,) = connection.execute("SELECT min(seq) FROM record").fetchone()
        need(first is not None, "a part without a record")
        expected = [sql.replace("coalesce(max(seq), 0)", f"coalesce(max(seq), {first - 1})") for sql in expected]
    need(sorted(found) == sorted(expected), "the schema is another")
    need(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "integrity_check")
    return version


class Chain:
    def __init__(self, head):
        self.head, self.met = head, False
        self.seq, self.hash = 0, bytes(32)
        self.case, self.files, self.segments, self.dropped = None, {}, set(), set()
        self.ended, self.next_input = True, 1
        self.signed, self.key, self.vouched = False, None, 0
        self.sealed, self.seal = None, None
        self.part, self.first, self.before = 0, None, None

    def begin_part(self, number):
        self.part += 1
        need(number == self.part, f"{part_name(self.part)} is missing")
        self.first, self.before = None, self.first

    def record(self, seq, kind, body, attachment, prev, digest):
        need(isinstance(kind, str) and re.fullmatch("[a-z][a-z0-9_]{0,31}", kind), f"record {seq}: kind")
        need(isinstance(body, str) and isinstance(prev, bytes) and isinstance(digest, bytes), f"record {seq}: types")
        need(attachment is None or isinstance(attachment, bytes), f"record {seq}: types")
        need(seq == self.seq + 1, f"record {self.seq + 1} is missing")
        need(prev == self.hash, f"record {seq}: prev")
        data = b"sakshi record 1\n" + prev + seq.to_bytes(8, "big")
        for part in (kind.encode(), body.encode()):
            data += len(part).to_bytes(8, "big") + part
        data += b"\0" if attachment is None else b"\1" + len(attachment).to_bytes(8, "big") + attachment
        need(hashlib.sha256(data).digest() == digest, f"record {seq}: hash")
        self.seq, self.hash = seq, digest
        if self.head and self.head[0] == seq:
            self.met = kind == "checkpoint" and digest.startswith(self.head[1])
            need(self.met, "the head that was given is of another case")
        try:
            self.content(kind, read_json(body), attachment, prev)
        except (KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"record {seq} ({kind}): {error!r}") from error

    def content(self, kind, body, attachment, prev):
        begins_part = self.first is None
        if begins_part:
            self.first = self.seq
        need((kind == "rolled") == (begins_part and self.part > 1), "`rolled` begins a later part, and no other record is it")
        need((kind == "case") == (self.seq == 1), "record 1 is `case`, and no other")
        need(self.seal is None, "a record behind the seal")
        need(self.sealed is None or kind == "checkpoint", "a record behind `sealed`")
        if kind == "case":
            self.case = body["case"]
            self.signed = self.case["version"] > 1 and self.case["mode"] != "inspect"
        if self.signed:
            need((kind == "key") == (self.seq == 2), "record 2 is the key")
            need(self.seq != 3 or kind == "checkpoint", "record 3 is the first checkpoint")
        else:
            need(kind not in ("key", "checkpoint"), "signed or not?")
        if kind in ("case", "files"):
            for entry in body["files"]:
                self.name(entry)
        elif kind == "exhibit":
            self.name(body)
        elif kind == "segment":
            need(body["path"] not in self.files, "a segment is named twice")
            self.name(body)
            self.segments.add(body["path"])
        elif kind == "rolled":
            need(body["part"] == self.part and body["path"] == part_name(self.part - 1), "another part")
            need((body["first"], body["last"]) == (self.before, self.seq - 1), "other records of the part before")
            self.name(body)
        elif kind == "segment_dropped":
            need(body["path"] in self.segments, "what is dropped is no segment")
            self.segments.remove(body["path"])
            del self.files[body["path"]]
            self.dropped.add(body["path"])
        elif kind == "session":
            self.ended, self.next_input = False, 1
        elif kind in ("stop", "unclean_stop"):
            self.ended = True
        elif kind == "journal":
            count_block(attachment, body)
            need(body["first"] == self.next_input, "a journal block is missing")
            self.next_input += body["inputs"]
        elif kind == "key":
            need(body["algorithm"] == "ed25519", "another algorithm")
            self.key = unhex(body["public"], 32)
        elif kind == "sealed":
            self.sealed = (self.seq, body["at"])
        elif kind == "checkpoint":
            self.checkpoint(body, attachment, prev)

    def checkpoint(self, body, attachment, prev):
        signature = unhex(body.pop("signature"), 64)
        signed = canonical(body).encode()
        message = b"sakshi checkpoint 1\n" + prev + self.seq.to_bytes(8, "big")
        message += len(signed).to_bytes(8, "big") + signed
        need(attachment is None, "something is attached to a checkpoint")
        need(signature_is_right(self.key, message, signature), f"record {self.seq}: signature")
        is_seal = body["reason"] == "seal"
        need(is_seal == (body["next"] is None), "`next` is null at the seal only")
        need(is_seal == (self.sealed is not None), "`sealed` and its checkpoint belong together")
        self.vouched = self.seq
        if is_seal:
            self.seal = body
        else:
            self.key = unhex(body["next"], 32)

    def name(self, entry):
        path = entry["path"]
        parts = path.split("/")
        need(not set(parts) & {"", ".", ".."}, f"{path} leads out of the folder")
        need(path not in self.dropped, f"{path} was dropped")
        known = (entry["bytes"], unhex(entry["sha256"], 32))
        need(self.files.setdefault(path, known) == known, f"{path} is named twice")


def verify_part(database, number, chain):
    connection = sqlite3.connect(database)
    try:
        version = check_database(connection, number)
        for row in connection.execute("SELECT seq, kind, body, attachment, prev, hash FROM record ORDER BY seq"):
            chain.record(*row)
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        raise Damaged(f"{part_name(number)}: {error}") from error
    finally:
        connection.close()
    need(chain.first is not None, "no record")
    return version


def verify_case(folder, numbers, files, head):
    """Parts of the database lie in `folder`."""
    need(1 in numbers, "evidence.db is missing")
    chain, versions = Chain(head), set()
    for number in sorted(numbers):
        chain.begin_part(number)
        versions.add(verify_part(os.path.join(folder, part_name(number)), number, chain))
    need(len(versions) == 1, "parts of two versions")
    (version,) = versions
    need(chain.head is None or chain.met, "the head that was given is not there")
    need(chain.case["version"] == version, "two versions")
    for path, (length, digest) in chain.files.items():
        content = files.content(path)
        need(len(content) == length and hashlib.sha256(content).digest() == digest, f"{path} was changed")
    try:
        need(json.loads(files.content("case.json")) == chain.case, "case.json is of another case")
    except ValueError as error:
        raise Damaged(f"case.json: {error}") from error
    return chain


def result(chain):
    whole = chain.ended and (not chain.signed or chain.vouched == chain.seq)
    return "intact" if whole else "incomplete"


def verify_folder(path, head):
    folder = Folder(path)
    with tempfile.TemporaryDirectory() as copy:
        numbers = {part_number(name) for name in os.listdir(path)} - {None}
        last = part_name(max(numbers, default=1))
        for name in [part_name(number) for number in numbers] + [last + "-wal"]:
            source = os.path.join(path, name)
            if os.path.exists(source):
                shutil.copyfile(source, os.path.join(copy, name))
        return result(verify_case(copy, numbers, folder, head))


# A bundle.


def entries(data):
    at = 0
    while True:
        header = data[at : at + 512]
        need(len(header) == 512, "the archive ends too early")
        if header == bytes(512):
            need(data[at:] == bytes(1024), "two zero blocks end an archive")
            return
        need(header[100:124] == b"0000644\0" + b"0000000\0" * 2, "mode or owner")
        need(header[136:148] == b"00000000000\0" and header[156:257] == b"0" + bytes(100), "time or type")
        need(header[257:329] == b"ustar\x0000" + bytes(64) and header[329:345] == b"0000000\0" * 2, "not ustar")
        need(header[500:] == bytes(12), "bytes behind a header")
        total = sum(header[:148]) + 8 * 32 + sum(header[156:])
        need(header[148:156] == b"%06o\0 " % total, "a checksum")
        need(re.fullmatch(rb"[0-7]{11}\0", header[124:136]), "a length")
        length = int(header[124:135], 8)
        name, _, rest = header[:100].partition(b"\0")
        prefix, _, more = header[345:500].partition(b"\0")
        need(not (rest + more).strip(b"\0"), "bytes behind a name")
        at += 512
        content = data[at : at + length]
        filling = -length % 512
        need(len(content) == length and data[at + length : at + length + filling] == bytes(filling), "a filling")
        at += length + filling
        yield (prefix + b"/" + name if prefix else name).decode(), content


def verify_bundle(path, head):
    with open(path, "rb") as file:
        found = list(entries(file.read()))
    need([name for name, _ in found[:2]] == ["manifest.json", "manifest.sig"], "manifest.json, manifest.sig")
    manifest_text, signature_text = found[0][1], found[1][1]
    manifest, signature = read_json(manifest_text.decode()), read_json(signature_text.decode())
    need(manifest["format"] == "sakshi-bundle" and manifest["version"] == 1, "another format")
    need(signature["algorithm"] == "ed25519" and len(signature) == 3, "another algorithm")
    listed = manifest["files"]
    names = [name for name, _ in found[2:]]
    need(names == [file["path"] for file in listed], "other files than the manifest lists")
    need(names == sorted(set(names), key=str.encode), "files in another order")
    files = {}
    for (name, content), file in zip(found[2:], listed):
        need(name.startswith("case/"), "a file outside the case")
        need(len(content) == file["bytes"], f"{name}: length")
        for algorithm in ("sha256", "sha1", "md5"):
            if algorithm in file:
                need(hashlib.new(algorithm, content).hexdigest() == file[algorithm], f"{name}: {algorithm}")
        need("sha256" in file, f"{name}: no SHA-256")
        files[name.removeprefix("case/")] = content
    numbers = {part_number(name) for name in files} - {None}
    with tempfile.TemporaryDirectory() as folder:
        for name in [part_name(number) for number in numbers]:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(files[name])
        chain = verify_case(folder, numbers, Unpacked(files), head)
    need(chain.seal is not None, "the case is not sealed")
    need(set(files) == set(chain.files) | {part_name(chain.part)}, "a file that no record names")
    need(manifest["head"] == {"hash": chain.hash.hex(), "seq": chain.seq}, "another head")
    need(manifest["case"] == chain.case["id"] and manifest["sealed"] == chain.sealed[1], "another case or seal")
    need(signature["public"] == chain.seal["manifest"], "another key than the seal names")
    message = b"sakshi manifest 1\n" + hashlib.sha256(manifest_text).digest()
    public = unhex(signature["public"], 32)
    need(signature_is_right(public, message, unhex(signature["signature"], 64)), "the manifest's signature")
    return result(chain)


def main():
    path = sys.argv[1]
    head = read_head(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        verdict = verify_folder(path, head) if os.path.isdir(path) else verify_bundle(path, head)
    except Damaged as error:
        print(f"damaged: {error}")
        return 1
    except (KeyError, TypeError, AttributeError, UnicodeError) as error:
        print(f"damaged: {error!r}")
        return 1
    print(verdict)
    return 0 if verdict == "intact" else 4


if __name__ == "__main__":
    sys.exit(main())
