# Run by every build: writes OUTPUT (a header) with the commit of SOURCE_DIR, and touches it only when that has changed.
execute_process(COMMAND git --no-optional-locks -C ${SOURCE_DIR} describe --always --dirty --abbrev=10
  OUTPUT_VARIABLE description OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(description "")
endif()
set(text "#define R1_GIT_DESCRIPTION \"${description}\"\n")
set(before "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT text STREQUAL before)
  file(WRITE ${OUTPUT} "${text}")
endif()
