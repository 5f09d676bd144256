/* Operators in shared libraries: what they define, and what they may call. C99 and C++11.
 *
 *     cc -shared -fPIC -I"$(python -m dora.runtime.include)" operator.c -o liboperator.so
 *
 * Nothing is to be linked: the functions that dora keeps in a library of its own
 * (-ldora_operator_api_c) are in this file.
 */
#ifndef DORA_OPERATOR_API_H
#define DORA_OPERATOR_API_H

#include <stdlib.h>
#include <string.h>

#include "operator_types.h"

#if defined(__GNUC__)
#define DORA_EXPORT __attribute__((visibility("default")))
#define DORA_UNUSED __attribute__((unused))
#else
#define DORA_EXPORT
#define DORA_UNUSED
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What an operator defines -------------------------------------------------------------- */

/* Makes one operator. Called once for each operator of a flow file that names this library, so
 * keep what belongs to one of them in its context, not in global variables. */
DORA_EXPORT DoraInitResult_t dora_init_operator(void);

/* Called for one event at a time. What `event` points to is valid until this returns. */
DORA_EXPORT OnEventResult_t dora_on_event(
    RawEvent_t *event, const SendOutput_t *send_output, void *operator_context);

DORA_EXPORT DoraResult_t dora_drop_operator(void *operator_context);

/* May be left out. Called once, right after dora_init_operator; `services` stays valid until
 * dora_drop_operator returns. */
DORA_EXPORT DoraResult_t dora_set_services(
    void *operator_context, const DoraServices_t *services);

/* May be left out. Called after that, once for each key that this operator saved before. */
DORA_EXPORT DoraResult_t dora_restore_state(
    void *operator_context, const char *key, const uint8_t *value, size_t len);

/* ---- What it may call: the functions of dora ------------------------------------------------ */

/* The input's name, or NULL if there is no memory left. Ends with dora_free_input_id. */
DORA_UNUSED static char *dora_read_input_id(const Input_t *input) {
    char *id = (char *)malloc(input->id.len + 1);
    if (id != NULL) {
        memcpy(id, input->id.ptr, input->id.len);
        id[input->id.len] = '\0';
    }
    return id;
}

DORA_UNUSED static void dora_free_input_id(char *input_id) { free(input_id); }

/* The value's bytes where they lie, without a copy: until dora_on_event returns or dora_read_data
 * takes them. NULL for values that are no bytes: see dora_input_array. */
DORA_UNUSED static const uint8_t *dora_borrow_data(const Input_t *input, size_t *len) {
    static const uint8_t nothing[1] = {0};
    const struct ArrowArray *array = &input->array;
    *len = 0;
    if (!input->has_array || strcmp(input->schema.format, "C") != 0 || array->null_count != 0) {
        return NULL;
    }
    if (array->length == 0 || array->buffers[1] == NULL) {
        return nothing;
    }
    *len = (size_t)array->length;
    return (const uint8_t *)array->buffers[1] + array->offset;
}

/* A copy of the value's bytes, which ends with dora_free_data. ptr is NULL for values that are no
 * bytes, and the second time: the first call gives the value back to its sender. */
DORA_UNUSED static Vec_uint8_t dora_read_data(Input_t *input) {
    Vec_uint8_t data = {NULL, 0, 0};
    size_t len = 0;
    const uint8_t *bytes = dora_borrow_data(input, &len);
    if (bytes != NULL) {
        data.ptr = (uint8_t *)malloc(len ? len : 1);
    }
    if (data.ptr != NULL) {
        memcpy(data.ptr, bytes, len);
        data.len = len;
        data.cap = len ? len : 1;
        input->has_array = 0;
        if (input->array.release != NULL) {
            input->array.release(&input->array);
        }
    }
    return data;
}

DORA_UNUSED static void dora_free_data(Vec_uint8_t data) {
    if (data.cap != 0) {
        free(data.ptr);
    }
}

/* ---- Beyond dora's ------------------------------------------------------------------------- */

/* An error with this text, to be returned. */
DORA_UNUSED static DoraResult_t dora_error(const char *text) {
    DoraResult_t result = {NULL};
    size_t len = strlen(text);
    Vec_uint8_t *error = (Vec_uint8_t *)malloc(sizeof *error);
    uint8_t *copy = (uint8_t *)malloc(len ? len : 1);
    if (error == NULL || copy == NULL) {
        abort(); /* an error that cannot be told must not look like a success */
    }
    memcpy(copy, text, len);
    error->ptr = copy;
    error->len = len;
    error->cap = len ? len : 1;
    result.error = error;
    return result;
}

/* Only for errors that are not handed on. */
DORA_UNUSED static void dora_free_error(DoraResult_t result) {
    if (result.error != NULL) {
        dora_free_data(*result.error);
        free(result.error);
    }
}

/* Any value, as the Arrow C data interface has it, with its type in *schema; both are lent until
 * dora_on_event returns. NULL once dora_read_data has taken the value. */
DORA_UNUSED static const struct ArrowArray *dora_input_array(
    const Input_t *input, const struct ArrowSchema **schema) {
    *schema = &input->schema;
    return input->has_array ? &input->array : NULL;
}

DORA_UNUSED static Vec_uint8_t dora_copied(const char *text) {
    Vec_uint8_t copy = {NULL, 0, 0};
    size_t len = strlen(text);
    copy.ptr = (uint8_t *)malloc(len ? len : 1);
    if (copy.ptr != NULL) {
        memcpy(copy.ptr, text, len);
        copy.len = len;
        copy.cap = len ? len : 1;
    }
    return copy;
}

/* Sends any Arrow value without a copy. Takes over *array and *schema: their `release` is called,
 * in any thread, when the last reader is done. */
DORA_UNUSED static DoraResult_t dora_send_operator_array(
    const SendOutput_t *send_output, const char *id, struct ArrowArray *array,
    struct ArrowSchema *schema) {
    static uint8_t nothing[1] = {0};
    Output_t output;
    output.id = dora_copied(id);
    output.metadata.open_telemetry_context.ptr = nothing;
    output.metadata.open_telemetry_context.len = 0;
    output.metadata.open_telemetry_context.cap = 0;
    output.array = *array;
    output.schema = *schema;
    array->release = NULL;
    schema->release = NULL;
    return send_output->send_output.call(send_output->send_output.env_ptr, output);
}

DORA_UNUSED static void dora_release_bytes(struct ArrowArray *array) {
    free(array->private_data);
    array->release = NULL;
}

DORA_UNUSED static void dora_release_bytes_type(struct ArrowSchema *schema) {
    schema->release = NULL;
}

/* ---- The last of dora's -------------------------------------------------------------------- */

/* Sends a copy of the bytes, which readers get as an array of uint8. */
DORA_UNUSED static DoraResult_t dora_send_operator_output(
    const SendOutput_t *send_output, const char *id, const uint8_t *data_ptr, size_t data_len) {
    struct ArrowArray array;
    struct ArrowSchema schema;
    const void **buffers;
    uint8_t *bytes;
    if (data_ptr == NULL && data_len != 0) {
        return dora_error("dora_send_operator_output: data_ptr is NULL and data_len is not 0");
    }
    /* One piece of memory: the list of buffers, then the bytes, as far apart as vectors like. */
    buffers = (const void **)malloc(64 + data_len);
    if (buffers == NULL) {
        return dora_error("dora_send_operator_output: no memory left");
    }
    bytes = (uint8_t *)buffers + 64;
    if (data_len != 0) {
        memcpy(bytes, data_ptr, data_len);
    }
    buffers[0] = NULL;
    buffers[1] = bytes;
    memset(&array, 0, sizeof array);
    array.length = (int64_t)data_len;
    array.n_buffers = 2;
    array.buffers = buffers;
    array.private_data = (void *)buffers;
    array.release = dora_release_bytes;
    memset(&schema, 0, sizeof schema);
    schema.format = "C";
    schema.name = "";
    schema.release = dora_release_bytes_type;
    return dora_send_operator_array(send_output, id, &array, &schema);
}

#ifdef __cplusplus
}
#endif

#endif
