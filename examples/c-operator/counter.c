/* Counts the messages that it gets. An operator as dora has them: nothing in here is ours, so that
 * it can also be built against dora's own header. */
#include <stdio.h>

#include "operator_api.h"

/* Called once for each operator of the flow file that names this library. */
DoraInitResult_t dora_init_operator(void) {
    DoraInitResult_t result = {.operator_context = calloc(1, sizeof(int))};
    return result;
}

DoraResult_t dora_drop_operator(void *operator_context) {
    free(operator_context);
    DoraResult_t result = {NULL};
    return result;
}

OnEventResult_t dora_on_event(
    RawEvent_t *event, const SendOutput_t *send_output, void *operator_context) {
    OnEventResult_t result = {.status = DORA_STATUS_CONTINUE};
    int *count = operator_context;

    if (event->input != NULL) {
        char *id = dora_read_input_id(event->input);
        Vec_uint8_t data = dora_read_data(event->input);
        if (data.ptr == NULL) {
            printf("%s brought no bytes\n", id);
        } else {
            char text[100];
            *count += 1;
            int length = snprintf(
                text, sizeof text, "%s %i: %.*s", id, *count, (int)data.len, (char *)data.ptr);
            if (length >= (int)sizeof text) {
                length = sizeof text - 1;
            }
            result.result =
                dora_send_operator_output(send_output, "count", (uint8_t *)text, length);
            dora_free_data(data);
        }
        dora_free_input_id(id);
    }
    if (event->stop) {
        printf("the counter stops at %i\n", *count);
    }
    return result;
}
