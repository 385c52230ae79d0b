"""The requests of `ioctl` that a sandbox may make. All others are answered as by a file that does not know them.

What is behind `ioctl` depends on the file: file systems reserve space by it, drivers and line disciplines have broken
kernels by it. A list of what is refused would never end. What programs do without these, they do in another way
(`cp` copies where a clone is refused); the numbers are the same on x86-64 and aarch64.
"""

from __future__ import annotations

from collections.abc import Mapping

ALLOWED: Mapping[str, int] = {
    # any descriptor
    "FIONREAD": 0x541B,
    "FIONBIO": 0x5421,
    "FIONCLEX": 0x5450,
    "FIOCLEX": 0x5451,
    "FIOASYNC": 0x5452,
    "FIOQSIZE": 0x5460,
    "FIGETBSZ": 0x0002,
    "FS_IOC_GETFLAGS": 0x80086601,
    # terminals, also those that a program makes
    "TCGETS": 0x5401,
    "TCSETS": 0x5402,
    "TCSETSW": 0x5403,
    "TCSETSF": 0x5404,
    "TCGETS2": 0x802C542A,
    "TCSETS2": 0x402C542B,
    "TCSETSW2": 0x402C542C,
    "TCSETSF2": 0x402C542D,
    "TCSBRK": 0x5409,
    "TCXONC": 0x540A,
    "TCFLSH": 0x540B,
    "TCSBRKP": 0x5425,
    "TIOCEXCL": 0x540C,
    "TIOCNXCL": 0x540D,
    "TIOCSCTTY": 0x540E,
    "TIOCGPGRP": 0x540F,
    "TIOCSPGRP": 0x5410,
    "TIOCOUTQ": 0x5411,
    "TIOCGWINSZ": 0x5413,
    "TIOCSWINSZ": 0x5414,
    "TIOCPKT": 0x5420,
    "TIOCNOTTY": 0x5422,
    "TIOCGETD": 0x5424,
    "TIOCGSID": 0x5429,
    "TIOCGPTN": 0x80045430,
    "TIOCSPTLCK": 0x40045431,
    "TIOCGDEV": 0x80045432,
    "TIOCGPKT": 0x80045438,
    "TIOCGPTLCK": 0x80045439,
    "TIOCGEXCL": 0x80045440,
    "TIOCGPTPEER": 0x5441,
    # sockets and network interfaces, looked at
    "SIOCATMARK": 0x8905,
    "SIOCGIFNAME": 0x8910,
    "SIOCGIFCONF": 0x8912,
    "SIOCGIFFLAGS": 0x8913,
    "SIOCGIFADDR": 0x8915,
    "SIOCGIFDSTADDR": 0x8917,
    "SIOCGIFBRDADDR": 0x8919,
    "SIOCGIFNETMASK": 0x891B,
    "SIOCGIFMTU": 0x8921,
    "SIOCGIFHWADDR": 0x8927,
    "SIOCGIFINDEX": 0x8933,
    # randomness
    "RNDGETENTCNT": 0x80045200,
}
