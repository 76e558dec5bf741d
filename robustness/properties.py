"""The properties that the search holds, by name; light, since collection reads it."""

BOUND = "bound"
INDEPENDENCE = "independence"
NESTED = "nested"
CHANCE = "chance"

PROPERTIES = {
    BOUND: "retrieval on a subset stays above the property bound",
    INDEPENDENCE: "an image's embedding depends on that image and its mask alone",
    NESTED: "hiding more of the same pixels never helps beyond the stated noise",
    CHANCE: "with every pixel hidden, retrieval is chance",
}
"""What each property says."""
