"""A model catalogue as `codex debug models` prints it, with entries of the required fields."""


def catalog_entry(slug, priority):
    """All that Codex 0.169.0 asks of an entry, with bytes that a writer of JSON would change."""
    return ('{ "slug":"%s", "display_name":"%s","supported_reasoning_levels":[ ],'
            '"shell_type":"unified_exec","visibility":"list","supported_in_api":true,'
            '"priority":%d,"support_verbosity":false,'
            '"truncation_policy":{"mode":"tokens","limit":10000},'
            '"experimental_supported_tools":[],"base_instructions":"Say \\u0068i." }'
            % (slug, slug.upper(), priority))


def catalog_text(entries):
    return '{"models":[\n' + ",\n".join(entries) + "\n]}\n"
