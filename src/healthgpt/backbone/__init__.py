"""Any Hugging Face causal LM: loading, vocabulary, prompts."""
