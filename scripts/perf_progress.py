# SPDX-License-Identifier: MIT
"""A progress bar with the remaining time, on a terminal; nothing elsewhere."""

import sys
import time

WIDTH = 24


class Progress:
    def __init__(self, n_steps, stream=sys.stderr):
        self.n_steps, self.n_done = n_steps, 0
        self.stream = stream
        self.is_shown = stream.isatty()
        self.began = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.is_shown:
            self.stream.write("\r\033[K")
            self.stream.flush()

    def _remaining(self):
        """Steps cost what they did on average so far: runs are interleaved."""
        if not self.n_done:
            return "?"
        per_step = (time.monotonic() - self.began) / self.n_done
        seconds = int(per_step * max(self.n_steps - self.n_done, 0))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def begin(self, workload, allocator):
        if not self.is_shown:
            return
        share = min(self.n_done / max(self.n_steps, 1), 1)
        bar = "#" * int(share * WIDTH)
        self.stream.write(f"\r\033[K[{bar:-<{WIDTH}}] {share:4.0%} {self._remaining()} left  "
                          f"{workload} {allocator}")
        self.stream.flush()

    def end(self):
        self.n_done += 1

    def note(self, text):
        self.stream.write(("\r\033[K" if self.is_shown else "") + text + "\n")
