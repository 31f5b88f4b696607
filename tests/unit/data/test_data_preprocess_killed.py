"""Preprocessing killed at any moment: nothing looks finished, nothing hangs, and it goes on to the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import load_manifest, verify_manifest
from megalite.data.merge import merge
from megalite.data.preprocess.command import preprocess
from megalite.training.shared_memory import remove_stale_buffers
