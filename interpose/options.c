/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <stdlib.h>
#include <unistd.h>

#include "fatal.h"
#include "text.h"

#define VARIABLE "MHEAP_CONF"

options_t options;

static const options_t defaults = {
#define OPTION_BOOL(name, default_value, help)                 .name = default_value,
#define OPTION_UINT(name, default_value, min, max, unit, help) .name = default_value,
#include "options.def"
#undef OPTION_BOOL
#undef OPTION_UINT
};

/* ---- Values: a part of the text, without an end mark ---- */

typedef struct {
    const char *text;
    size_t n_bytes;
} slice_t;

static bool slice_is(slice_t slice, const char *word) {
    return text_bytes(word) == slice.n_bytes && text_begins(slice.text, word);
}

static bool parse_bool(slice_t value, bool *to) {
    bool is_true = slice_is(value, "true") || slice_is(value, "1");
    if (!is_true && !slice_is(value, "false") && !slice_is(value, "0"))
        return false;
    *to = is_true;
    return true;
}

/* log2 of the factor that a suffix stands for; 0 if it is none. */
static unsigned suffix_log2(char suffix) {
    switch (suffix | 0x20) { /* lower case */
    case 'k':
        return 10;
    case 'm':
        return 20;
    case 'g':
        return 30;
    default:
        return 0;
    }
}

static bool parse_number(slice_t value, uint64_t *to) {
    unsigned log2 = value.n_bytes ? suffix_log2(value.text[value.n_bytes - 1]) : 0;
    size_t n_digits = value.n_bytes - (log2 != 0);
    uint64_t number = 0;
    if (n_digits == 0)
        return false;
    for (size_t i = 0; i < n_digits; i++) {
        unsigned digit = (unsigned)value.text[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (number > UINT64_MAX >> log2)
        return false;
    *to = number << log2;
    return true;
}

static bool parse_uint(slice_t value, uint64_t min, uint64_t max, uint64_t *to) {
    uint64_t number;
    bool is_true;
    if (parse_bool(value, &is_true))
        number = is_true;
    else if (!parse_number(value, &number))
        return false;
    if (number < min || number > max)
        return false;
    *to = number;
    return true;
}

/* ---- Items: key:value ---- */

typedef enum { ITEM_GOOD, ITEM_UNKNOWN_KEY, ITEM_BAD_VALUE } item_result_t;

static item_result_t parse_item(slice_t key, slice_t value, options_t *to) {
#define OPTION_BOOL(name, default_value, help)                                                     \
    if (slice_is(key, #name))                                                                      \
        return parse_bool(value, &to->name) ? ITEM_GOOD : ITEM_BAD_VALUE;
#define OPTION_UINT(name, default_value, min, max, unit, help)                                     \
    if (slice_is(key, #name))                                                                      \
        return parse_uint(value, min, max, &to->name) ? ITEM_GOOD : ITEM_BAD_VALUE;
#include "options.def"
#undef OPTION_BOOL
#undef OPTION_UINT
    return ITEM_UNKNOWN_KEY;
}

__attribute__((cold)) void options_parse(const char *text, options_t *to, options_warn_fn *warn,
                                         void *arg) {
    while (*text) {
        slice_t item = {text, text_bytes_until(text, ",")};
        text += item.n_bytes + (text[item.n_bytes] == ',');
        if (item.n_bytes == 0)
            continue;
        slice_t key = {item.text, text_bytes_until(item.text, ":,")};
        slice_t value = {item.text + key.n_bytes, 0}; /* empty: good for no option */
        if (*value.text == ':')
            value = (slice_t){value.text + 1, item.n_bytes - key.n_bytes - 1};
        item_result_t result = parse_item(key, value, to);
        if (result == ITEM_UNKNOWN_KEY)
            warn(arg, key.text, key.n_bytes, "unknown key");
        else if (result == ITEM_BAD_VALUE)
            warn(arg, item.text, item.n_bytes, "bad value");
    }
}

/* ---- The environment ---- */

__attribute__((cold)) static void ignore(void *arg, const char *text, uint64_t n_bytes,
                                         const char *what) {
    (void)arg, (void)text, (void)n_bytes, (void)what;
}

/* The variable does not begin with them: data of the file would be a mapping more in each process.
 */
__attribute__((constructor)) static void set_defaults(void) {
    static bool is_done;
    if (is_done)
        return;
    is_done = true;
    options = defaults;
}

void options_init(void) {
    static bool is_done;
    set_defaults();
    if (is_done || !environ)
        return;
    is_done = true;
    const char *text = secure_getenv(VARIABLE);
    if (text)
        options_parse(text, &options, ignore, NULL);
}

__attribute__((cold)) static void write_warning(void *arg, const char *text, uint64_t n_bytes,
                                                const char *what) {
    (void)arg;
    line_t line = {.n_bytes = 0};
    line_text(&line, "libmheap: " VARIABLE ": ");
    line_text(&line, what);
    line_text(&line, " '");
    for (uint64_t i = 0; i < n_bytes && i < sizeof line.text / 2; i++)
        line_text(&line, (char[2]){text[i], '\0'});
    line_text(&line, "'");
    line_write(&line, STDERR_FILENO);
}

void options_warn(void) {
    static bool is_done;
    const char *text = is_done ? NULL : secure_getenv(VARIABLE);
    is_done = true;
    options_t scratch = options;
    if (text)
        options_parse(text, &scratch, write_warning, NULL);
}
