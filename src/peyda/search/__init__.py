"""Query → hits: checks, filters, composition and ranking. Opens no sockets and parses no files."""

from peyda.search.filters import DateLike, parse_where
from peyda.search.query import MAX_K, MAX_QUERY_CHARS, check_k, check_min_score, prepare_query
from peyda.search.searcher import Searcher

__all__ = [
    "MAX_K",
    "MAX_QUERY_CHARS",
    "DateLike",
    "Searcher",
    "check_k",
    "check_min_score",
    "parse_where",
    "prepare_query",
]
