/* regex.h: ECMA-262 regular expressions, as JSON Schema's "pattern" uses them, to languages.
 *
 * Code points are matched (flag u), a pattern may match anywhere in a string unless it is anchored.
 * Groups, alternatives, classes, \d \w \s and their complements, \p{General_Category}, greedy and
 * lazy quantifiers (the same set of strings), ^ and $, \b and \B, lookahead of both signs outside
 * of repetitions. Backreferences and lookbehind are refused: no finite automaton, or no use worth
 * its cost.
 *
 * Source: ECMA-262, 15th edition, 22.2.1 (patterns) and 22.2.2 (their meaning); annex B.1.2 for
 * escapes that the u flag forbids and schemas in the wild have ("\-", "\_", a bare "{" or "]"). */
#ifndef SLV_ENGINE_CONSTRAINT_REGEX_H
#define SLV_ENGINE_CONSTRAINT_REGEX_H

#include "engine/constraint/lang.h"

#define SLV_REGEX_MAX 8192 /* bytes of a pattern */
#define SLV_REGEX_DEPTH 64 /* groups inside each other */

/* What \d and \w are: ECMA-262's, letters and digits of ASCII; or of all scripts, as Python's re
 * and several validators have them (general categories N, and L, N and "_"). */
enum slv_regex_classes { SLV_REGEX_ECMA, SLV_REGEX_UNICODE };

/* The set of all strings in which pattern[0..n) matches somewhere. SLV_E_UNSUPPORTED with what and
 * where, SLV_E_FORMAT for what is no pattern, SLV_E_LIMIT. */
int slv_regex_search(struct slv_langs *p, const char *pattern, size_t n,
                     enum slv_regex_classes classes, slv_lang *ret,
                     struct slv_err *err) SLV_MUST_USE;

/* The same for the strings that it matches from end to end. */
int slv_regex_whole(struct slv_langs *p, const char *pattern, size_t n,
                    enum slv_regex_classes classes, slv_lang *ret,
                    struct slv_err *err) SLV_MUST_USE;

#endif
