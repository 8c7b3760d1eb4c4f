"""The report on a caption table: a page with scores, reasons, engines and samples, the same as a PNG, and the numbers.

```text
OUT/
├── report.html  self-contained; photographs of the samples are inside it
├── report.png   histogram, engines, reasons, captions (where matplotlib is installed)
└── report.json  the numbers
```
"""

from __future__ import annotations

from peyda.quality.report.collect import collect
from peyda.quality.report.facts import EngineFacts, ReportFacts, Sample, ScoreFacts
from peyda.quality.report.write import WrittenReport, write_report

__all__ = ["EngineFacts", "ReportFacts", "Sample", "ScoreFacts", "WrittenReport", "collect", "write_report"]
