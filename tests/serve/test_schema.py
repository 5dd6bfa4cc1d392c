"""What GET /openapi.json promises: requests made from it get answers that it names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.models_study import run_models
from tests.support.running_server import running_server

pytest.importorskip("fastapi")
pytest.importorskip("schemathesis")
CHECKS = "not_a_server_error,status_code_conformance,response_schema_conformance,content_type_conformance"


@pytest.mark.slow
def test_requests_made_from_the_description_get_answers_that_it_names(photos: Path, tmp_path: Path) -> None:
    study = run_models(tmp_path, photos, "fp32", ("cnn",))
    with running_server(str(study), cwd=tmp_path) as server:
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{server.address}/openapi.json",
            f"--checks={CHECKS}",
            "--max-examples=300",
            "--continue-on-failure",
            "--seed=1",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:]
        (passed,) = re.findall(r"([\d,]+) generated, ([\d,]+) passed", done.stdout)
        assert passed[0] == passed[1] and int(passed[0].replace(",", "")) > 500
        assert server.ask("/healthz")[0] == 200
