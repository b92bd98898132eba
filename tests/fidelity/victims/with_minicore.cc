// Linked into victims that cannot be preloaded.

#include "minicore/minicore.h"

__attribute__((constructor)) static void InstallMinicore() { minicore_install(nullptr); }
