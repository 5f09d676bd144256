/* Sends every word on in capital letters, and says "done" when no more will come. */
#include "operator_wasm.h"

static uint8_t room[60000];

/* Where an event of this size may be put: always the same room, as it is needed for one call. */
void *DORA_EXPORT(dora_alloc)(size_t size) { return size <= sizeof room ? room : NULL; }

int32_t DORA_EXPORT(dora_init)(void) { return 0; }

void DORA_EXPORT(dora_drop)(void) {}

int32_t DORA_EXPORT(dora_on_event)(
    int32_t kind, const char *id, size_t id_len, const char *type, size_t type_len,
    const uint8_t *data, size_t len) {
    (void)id, (void)id_len, (void)type, (void)type_len;
    if (kind == DORA_INPUT_CLOSED) {
        dora_log("info", 4, "done", 4);
    }
    if (kind == DORA_INPUT) {
        uint8_t *letters = (uint8_t *)data; /* in our own room */
        for (size_t i = 0; i < len; i++) {
            if (letters[i] >= 'a' && letters[i] <= 'z') {
                letters[i] -= 'a' - 'A';
            }
        }
        dora_send_output("word", 4, "", 0, letters, len);
    }
    return DORA_CONTINUE;
}
