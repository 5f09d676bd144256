/* Operators in WebAssembly, written in C: what they export, and what they may call.
 *
 *     clang --target=wasm32 -nostdlib -O2 -I"$(python -m dora.runtime.include)" \
 *         -Wl,--no-entry operator.c -o operator.wasm
 *
 * Texts and bytes are pointers with lengths; nothing ends in a NUL.
 */
#ifndef DORA_OPERATOR_WASM_H
#define DORA_OPERATOR_WASM_H

#include <stddef.h>
#include <stdint.h>

#define DORA_EXPORT(name) __attribute__((export_name(#name))) name
#define DORA_IMPORT(name) __attribute__((import_module("dora"), import_name(#name)))

enum dora_kind {
    DORA_INPUT = 0,
    DORA_INPUT_CLOSED = 1, /* id: the input that brings nothing more */
    DORA_STOP = 2,
    DORA_ERROR = 3,        /* data: the error's text */
    DORA_LATE = 4,         /* an input whose deadline has passed, with `on_deadline_miss: event` */
};

enum dora_status { DORA_CONTINUE = 0, DORA_STOP_OPERATOR = 1, DORA_STOP_ALL = 2 };

/* ---- What an operator exports: DORA_EXPORT(dora_init)(void) { ... } -------------------------- */

/* Room for an event; 0 if there is none. It is needed until dora_on_event (or dora_restore)
 * returns, so the same room can be given every time. */
void *dora_alloc(size_t size);

/* 0, or what went wrong. */
int32_t dora_init(void);

/* `type` is that of the data's elements, as numpy calls it (uint8, float32, ...); "ipc" for an
 * Arrow stream of one column, which is what all other values come as; empty if there is no value. */
int32_t dora_on_event(
    int32_t kind, const char *id, size_t id_len, const char *type, size_t type_len,
    const uint8_t *data, size_t len);

void dora_drop(void);

/* May be left out: called before the first event, once for each key that was saved. */
void dora_restore(const char *key, size_t key_len, const uint8_t *value, size_t len);

/* ---- What it may call ------------------------------------------------------------------------ */

/* 0, or -1 with the reason in the log. An empty type means uint8. */
DORA_IMPORT(send_output)
int32_t dora_send_output(
    const char *id, size_t id_len, const char *type, size_t type_len, const uint8_t *data,
    size_t len);

/* Durable when it returns. 0, or -1 with the reason in the log. */
DORA_IMPORT(save_state)
int32_t dora_save_state(const char *key, size_t key_len, const uint8_t *value, size_t len);

/* Durable, shared with the deployment's other operators and nodes on this machine. */
DORA_IMPORT(kvs_write)
int32_t dora_kvs_write(const char *key, size_t key_len, const uint8_t *value, size_t len);

/* The value's length, or -1 if there is none. It is written to `buffer` if there is room for it. */
DORA_IMPORT(kvs_read)
int32_t dora_kvs_read(const char *key, size_t key_len, uint8_t *buffer, size_t room);

/* Levels: debug, info, warn, error. */
DORA_IMPORT(log)
void dora_log(const char *level, size_t level_len, const char *message, size_t len);

/* Makes the call that is going on fail, with this text, when it returns. */
DORA_IMPORT(fail)
void dora_fail(const char *message, size_t len);

#endif
