// What the module was built from; a file of its own, so that no other is compiled anew when a source changes.
const char* source_digest() { return ELMAN_SOURCE_DIGEST; }
