"""What an agent under test finds on its PYTHONPATH: Python runs `sitecustomize` at its start."""

from typing import Final

MAXERROR_VARIABLE: Final = "FAULTS_MAXERROR_US"
