"""Questions for documents, asked of any language model: concurrent, resumable, filtered; training pairs for a nudge.

    documents -> selection -> prompt -> asking -> journal -> selection -> RetrievalDataset
                 (whom to     (what)    (threads  (kept as   (questions that find
                  ask about)            or async)  they come) their document)

`run` holds one generation together: its settings, what is still to be asked, what was answered, and the report.
"""

from nudge_integrations.generation.asking import agenerate_qa_pairs, generate_qa_pairs
from nudge_integrations.generation.prompt import DEFAULT_PROMPT
from nudge_integrations.generation.run import GenerationReport

__all__ = ["DEFAULT_PROMPT", "GenerationReport", "agenerate_qa_pairs", "generate_qa_pairs"]
