/* What a runtime and an operator in a shared library hand to each other. C99 and C++11.
 *
 * Names and layouts are those of dora 1.1, so that a library which was built against either runs
 * in both. Operators include operator_api.h.
 */
#ifndef DORA_OPERATOR_TYPES_H
#define DORA_OPERATOR_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes. Whoever holds them gives them back with free(ptr), unless cap is 0: then they are lent.
 * ptr is NULL where there are none at all, as opposed to none left to read. */
typedef struct Vec_uint8 {
    uint8_t *ptr;
    size_t len;
    size_t cap;
} Vec_uint8_t;

/* NULL: it went well. Otherwise a UTF-8 text, from malloc as the Vec_uint8_t itself is; see
 * dora_error(). */
typedef struct DoraResult {
    Vec_uint8_t *error;
} DoraResult_t;

/* operator_context is handed to every later call for this operator. */
typedef struct DoraInitResult {
    DoraResult_t result;
    void *operator_context;
} DoraInitResult_t;

enum DoraStatus {
    DORA_STATUS_CONTINUE = 0,
    DORA_STATUS_STOP = 1,     /* this operator has finished */
    DORA_STATUS_STOP_ALL = 2, /* the dataflow has */
};
typedef uint8_t DoraStatus_t;

typedef struct OnEventResult {
    DoraResult_t result;
    DoraStatus_t status;
} OnEventResult_t;

/* The Arrow C data interface, as its specification spells it. */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

typedef struct Metadata {
    Vec_uint8_t open_telemetry_context;
} Metadata_t;

/* Read it with the functions of operator_api.h; the fields are for them alone. */
typedef struct Input {
    uint64_t has_array; /* 1 until the value is read; then `array` is nobody's any more */
    struct ArrowArray array;
    Vec_uint8_t id;
    Metadata_t metadata;
    struct ArrowSchema schema;
} Input_t;

typedef struct Output {
    Vec_uint8_t id;
    Metadata_t metadata;
    struct ArrowArray array;
    struct ArrowSchema schema;
} Output_t;

/* One event: one of the four is there; with `on_deadline_miss: event` also an input with an error,
 * for a message that comes too late. All of it belongs to the runtime. */
typedef struct RawEvent {
    Input_t *input;           /* NULL, or a message */
    Vec_uint8_t input_closed; /* ptr NULL, or the name of an input that brings nothing more */
    bool stop;                /* the dataflow is to end */
    Vec_uint8_t error;        /* ptr NULL, or what went wrong around this operator */
} RawEvent_t;

/* A function with its environment. `call` takes over what the Output_t holds. */
typedef struct ArcDynFn1_DoraResult_Output {
    void *env_ptr;
    DoraResult_t (*call)(void *env_ptr, Output_t output);
    void (*release)(void *env_ptr);
    void (*retain)(void *env_ptr);
} ArcDynFn1_DoraResult_Output_t;

/* Sends from any thread, from the first dora_on_event on; after dora_drop_operator it fails. */
typedef struct SendOutput {
    ArcDynFn1_DoraResult_Output_t send_output;
} SendOutput_t;

/* What this runtime offers beside events; dora 1.1 does not have it. Each function takes `runtime`
 * first, copies what it is given, and may be called while the runtime calls one of the operator's
 * functions, from that thread. */
typedef struct DoraServices {
    void *runtime;
    /* Durable when it returns; this operator alone gets it back, in dora_restore_state. */
    DoraResult_t (*save_state)(void *runtime, const char *key, const uint8_t *value, size_t len);
    /* Durable when it returns; shared by the deployment's operators and nodes on this machine. */
    DoraResult_t (*kvs_write)(void *runtime, const char *key, const uint8_t *value, size_t len);
    /* value->ptr is NULL if nothing was written; otherwise dora_free_data(*value). */
    DoraResult_t (*kvs_read)(void *runtime, const char *key, Vec_uint8_t *value);
    /* A line of the node's log. Levels: debug, info, warn, error. */
    DoraResult_t (*log)(void *runtime, const char *level, const char *message);
} DoraServices_t;

#ifdef __cplusplus
}
#endif

#endif
