"""Crawlers: pairs of photographs and native Persian texts from public pages, politely and without personal data."""

from __future__ import annotations

from peyda.captions.crawl.divar import Ad, DivarApi
from peyda.captions.crawl.run import CRAWL_REASONS, CrawlOptions, CrawlSummary, crawl_divar

__all__ = ["CRAWL_REASONS", "Ad", "CrawlOptions", "CrawlSummary", "DivarApi", "crawl_divar"]
