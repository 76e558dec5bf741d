"""Model cache: metadata of models, so that a run with a filled store loads no model.

If every embedding is in the store, a run needs only the model's fingerprint, text policy and
dimension. They are stored in ``STORE/models/KEY.json`` with the SHA-256 of each file that the
model depends on. A changed request, package version or file loads the model again. Environment
variables and files that neither an option nor the model names are not tracked.
"""

from robustness.model_cache.entry import Entry, Metadata, ModelRequest
from robustness.model_cache.lazy_encoder import LazyEncoder, load_cached, unwrap

__all__ = ["Entry", "LazyEncoder", "Metadata", "ModelRequest", "load_cached", "unwrap"]
