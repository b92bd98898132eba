"""An ordinary program with threads; one of them reads from address 0."""

import ctypes
import threading
import time

inventory = {f"article {number}": list(range(number % 7)) for number in range(20000)}


def wait():
    time.sleep(60)


def read_null():
    ctypes.string_at(0)


for _ in range(3):
    threading.Thread(target=wait, daemon=True).start()
worker = threading.Thread(target=read_null)
worker.start()
worker.join()
