"""torch is imported in a thread of Python's own, and freeing tensors in Qt's threads is safe."""

import subprocess
import sys

import pytest

pytest.importorskip("napari")
pytestmark = pytest.mark.napari

# Two tasks in one thread of Qt's pool: the first loads torch, the second frees a tensor that C++ owns. The
# waiting threads in between take the memory of the first task's thread state.
PROGRAM = """
import sys
import threading
from qtpy.QtCore import QCoreApplication, QRunnable, QThreadPool
from napari_lucyd._napari.workers import torch_loading

importers = []


class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            importers.append(threading.current_thread())


class Task(QRunnable):
    def __init__(self, work):
        super().__init__()
        self.work, self.done = work, threading.Event()

    def run(self):
        self.work()
        self.done.set()


def free_a_tensor():
    import torch

    leaf = torch.zeros(3, requires_grad=True)
    total = (leaf * 2).sum()
    del leaf
    del total


sys.meta_path.insert(0, Watch())
application = QCoreApplication([])
pool = QThreadPool()
pool.setMaxThreadCount(1)
pool.setExpiryTimeout(-1)
ended = threading.Event()
for work in (torch_loading.load, free_a_tensor):
    task = Task(work)
    task.setAutoDelete(False)
    pool.start(task)
    assert task.done.wait(120)
    for _ in range(20):
        threading.Thread(target=ended.wait, daemon=True).start()
(importer,) = set(importers)
assert torch_loading.is_loaded()
print(type(importer) is threading.Thread, importer.is_alive())
"""


def test_torch_is_imported_in_a_thread_that_has_ended_and_tensors_are_freed_in_qts_threads():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["True", "False"]
