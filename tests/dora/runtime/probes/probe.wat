;; What an input is named is what this operator does. The same as probe.py and probe.c.
(module
  (import "dora" "send_output" (func $send (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "dora" "save_state" (func $save (param i32 i32 i32 i32) (result i32)))
  (import "dora" "kvs_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "dora" "kvs_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "dora" "fail" (func $fail (param i32 i32)))
  (memory (export "memory") 1)
  (global $count (mut i32) (i32.const 0))

  ;; Texts, each where it lies and how long it is. From 1024 on is the event, from 512 on answers.
  (data (i32.const 0) "out") (data (i32.const 8) "other") (data (i32.const 16) "closed")
  (data (i32.const 24) "count") (data (i32.const 32) "shared") (data (i32.const 40) "nothing")
  (data (i32.const 48) "dropped") (data (i32.const 56) "yes") (data (i32.const 64) "stop")
  (data (i32.const 72) "12") (data (i32.const 80) "no such luck")

  ;; Events are always put at the same place; the memory grows to hold them.
  (func (export "dora_alloc") (param $size i32) (result i32)
    (local $pages i32)
    (local.set $pages
      (i32.shr_u (i32.add (i32.add (local.get $size) (i32.const 1024)) (i32.const 65535))
                 (i32.const 16)))
    (if (i32.gt_u (local.get $pages) (memory.size))
      (then
        (if (i32.eq (memory.grow (i32.sub (local.get $pages) (memory.size))) (i32.const -1))
          (then (return (i32.const 0))))))
    (i32.const 1024))

  (func (export "dora_init") (result i32) (i32.const 0))

  (func (export "dora_drop")
    (drop (call $write (i32.const 48) (i32.const 7) (i32.const 56) (i32.const 3))))

  (func (export "dora_restore") (param $key i32) (param i32) (param $value i32) (param i32)
    (global.set $count (i32.load8_u (local.get $value))))

  (func $out (param $data i32) (param $length i32)
    (drop (call $send (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 0)
                      (local.get $data) (local.get $length))))

  (func (export "dora_on_event")
    (param $kind i32) (param $id i32) (param $id_len i32) (param $form i32) (param $form_len i32)
    (param $data i32) (param $length i32) (result i32)
    (local $first i32)
    (local $found i32)
    (if (i32.eq (local.get $kind) (i32.const 1))  ;; INPUT_CLOSED
      (then (drop (call $send (i32.const 16) (i32.const 6) (i32.const 0) (i32.const 0)
                              (local.get $id) (local.get $id_len)))))
    (if (i32.eq (local.get $kind) (i32.const 2))  ;; STOP
      (then (call $out (i32.const 64) (i32.const 4))))
    (if (i32.ne (local.get $kind) (i32.const 0)) (then (return (i32.const 0))))

    (local.set $first (i32.load8_u (local.get $id)))
    (if (i32.eq (local.get $first) (i32.const 101))  ;; echo, with the type that it came with
      (then (drop (call $send (i32.const 0) (i32.const 3) (local.get $form) (local.get $form_len)
                              (local.get $data) (local.get $length)))))
    (if (i32.eq (local.get $first) (i32.const 116))  ;; twice
      (then (call $out (i32.const 72) (i32.const 1))
            (drop (call $send (i32.const 8) (i32.const 5) (i32.const 0) (i32.const 0)
                              (i32.const 73) (i32.const 1)))))
    (if (i32.eq (local.get $first) (i32.const 99))  ;; count
      (then (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (i32.store8 (i32.const 512) (global.get $count))
            (call $out (i32.const 512) (i32.const 1))))
    (if (i32.eq (local.get $first) (i32.const 102))  ;; fail
      (then (call $fail (i32.const 80) (i32.const 12))))
    (if (i32.eq (local.get $first) (i32.const 119))  ;; write
      (then (drop (call $write (i32.const 32) (i32.const 6)
                               (local.get $data) (local.get $length)))))
    (if (i32.eq (local.get $first) (i32.const 114))  ;; read
      (then (local.set $found (call $read (i32.const 32) (i32.const 6)
                                          (i32.const 512) (i32.const 256)))
            (if (i32.lt_s (local.get $found) (i32.const 0))
              (then (call $out (i32.const 40) (i32.const 7)))
              (else (call $out (i32.const 512) (local.get $found))))))
    (if (i32.eq (local.get $first) (i32.const 110))  ;; nonsense
      (then (return (i32.const 7))))
    (if (i32.ne (local.get $first) (i32.const 115)) (then (return (i32.const 0))))
    (if (i32.eq (i32.load8_u (i32.add (local.get $id) (i32.const 1))) (i32.const 97))  ;; save
      (then (i32.store8 (i32.const 512) (global.get $count))
            (drop (call $save (i32.const 24) (i32.const 5) (i32.const 512) (i32.const 1)))
            (return (i32.const 0))))
    (if (result i32) (i32.eq (local.get $id_len) (i32.const 8))
      (then (i32.const 2))  ;; stop_all
      (else (i32.const 1))))  ;; stop
)
