/* What an input is named is what this operator does. The same as probe.py and probe.wat. */
#include "operator_api.h"

typedef struct Probe {
    uint8_t count;
    const DoraServices_t *services;
} Probe_t;

DoraInitResult_t dora_init_operator(void) {
    DoraInitResult_t result = {.operator_context = calloc(1, sizeof(Probe_t))};
    return result;
}

DoraResult_t dora_drop_operator(void *context) {
    Probe_t *probe = context;
    const DoraServices_t *to = probe->services;
    DoraResult_t result = to->kvs_write(to->runtime, "dropped", (const uint8_t *)"yes", 3);
    free(probe);
    return result;
}

DoraResult_t dora_set_services(void *context, const DoraServices_t *services) {
    ((Probe_t *)context)->services = services;
    return (DoraResult_t){NULL};
}

DoraResult_t dora_restore_state(
    void *context, const char *key, const uint8_t *value, size_t len) {
    if (strcmp(key, "count") == 0 && len == 1) {
        ((Probe_t *)context)->count = value[0];
    }
    return (DoraResult_t){NULL};
}

static DoraResult_t send(const SendOutput_t *to, const char *id, const char *text) {
    return dora_send_operator_output(to, id, (const uint8_t *)text, strlen(text));
}

OnEventResult_t dora_on_event(RawEvent_t *event, const SendOutput_t *send_output, void *context) {
    Probe_t *probe = context;
    const DoraServices_t *to = probe->services;
    OnEventResult_t answer = {.status = DORA_STATUS_CONTINUE};
    if (event->input_closed.ptr != NULL) {
        answer.result = dora_send_operator_output(
            send_output, "closed", event->input_closed.ptr, event->input_closed.len);
    }
    if (event->stop) {
        answer.result = send(send_output, "out", "stop");
    }
    if (event->input == NULL) {
        return answer;
    }
    char *id = dora_read_input_id(event->input);
    if (strcmp(id, "echo") == 0) {
        Vec_uint8_t data = dora_read_data(event->input);
        answer.result = dora_send_operator_output(send_output, "out", data.ptr, data.len);
        dora_free_data(data);
    } else if (strcmp(id, "twice") == 0) {
        answer.result = send(send_output, "out", "1");
        answer.result = send(send_output, "other", "2");
    } else if (strcmp(id, "count") == 0) {
        probe->count += 1;
        answer.result = dora_send_operator_output(send_output, "out", &probe->count, 1);
    } else if (strcmp(id, "fail") == 0) {
        answer.result = dora_error("no such luck");
    } else if (strcmp(id, "save") == 0) {
        answer.result = to->save_state(to->runtime, "count", &probe->count, 1);
    } else if (strcmp(id, "write") == 0) {
        size_t len;
        const uint8_t *data = dora_borrow_data(event->input, &len);
        answer.result = to->kvs_write(to->runtime, "shared", data, len);
    } else if (strcmp(id, "read") == 0) {
        Vec_uint8_t value;
        answer.result = to->kvs_read(to->runtime, "shared", &value);
        if (value.ptr == NULL) {
            answer.result = send(send_output, "out", "nothing");
        } else {
            answer.result = dora_send_operator_output(send_output, "out", value.ptr, value.len);
            dora_free_data(value);
        }
    } else if (strcmp(id, "stop") == 0) {
        answer.status = DORA_STATUS_STOP;
    } else if (strcmp(id, "stop_all") == 0) {
        answer.status = DORA_STATUS_STOP_ALL;
    } else if (strcmp(id, "nonsense") == 0) {
        answer.status = 7;
    }
    dora_free_input_id(id);
    return answer;
}
