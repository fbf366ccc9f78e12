"""Writes NormalizationData.cs: python3 generate.py > NormalizationData.cs

The tables are Python's, less the characters that came after Unicode 11 (Perl knows the ages): Hugging Face's tokenizers, whose
results models were trained on, normalises by tables of that age and leaves later characters alone.
"""
import base64
import struct
import subprocess
import unicodedata
import zlib

# Records of three little-endian uint32 fields and the code points that follow them:
#   code point | flags << 24 (1: compatibility, 2: composes back, canonical only), combining class, number of code points.
ages = subprocess.run(["perl", "-e", r'for (0..0x10FFFF) { next if $_ >= 0xD800 && $_ <= 0xDFFF; print "$_\n" if chr($_) =~ /\p{Present_In: 11.0}/ }'],
                      capture_output=True, check=True, text=True)
known = set(map(int, ages.stdout.split()))

out = b""
count = 0
for cp in range(0x110000):
    if cp not in known or 0xAC00 <= cp <= 0xD7A3:
        continue
    char = chr(cp)
    ccc = unicodedata.combining(char)
    mapping = unicodedata.decomposition(char).split()
    if not ccc and not mapping:
        continue
    flags = 0
    if mapping and mapping[0].startswith("<"):
        flags = 1
        mapping = mapping[1:]
    points = [int(p, 16) for p in mapping]
    if len(points) == 2 and not flags and unicodedata.normalize("NFC", char) == char:
        flags |= 2
    out += struct.pack("<III", cp | flags << 24, ccc, len(points)) + b"".join(struct.pack("<I", p) for p in points)
    count += 1

packed = base64.b64encode(zlib.compress(out, 9)).decode()
print("namespace Antiphon.Text;\n")
print(f"/// <summary>Decompositions and combining classes of Unicode 11; generate.py writes this file and explains the records.</summary>")
print("internal static class NormalizationData\n{")
print(f"    public const int Records = {count};\n")
print(f"    public const int Length = {len(out)};\n")
print("    public const string Packed =")
lines = [packed[i:i + 160] for i in range(0, len(packed), 160)]
print("\n".join(f'        "{line}"' + (" +" if i + 1 < len(lines) else ";") for i, line in enumerate(lines)))
print("}")
