"""The same bytes whoever does the work: this machine, a Slurm cluster (its sbatch played by a script), a Ray cluster."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from small_corpus import WORDS, files, recipe, write_corpus

from megalite.config.errors import DataError
from megalite.corpus.prepare.prepare import prepare_corpus, prepare_on_slurm
from megalite.corpus.prepare.recipe import Tokenize, TrainTokenizer
from megalite.data.corpus_tokens import tokenize_corpus
from megalite.data.manifest import verify_manifest
from megalite.training.shared_memory import remove_stale_buffers
