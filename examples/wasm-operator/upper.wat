;; Sends every word on in capital letters, and says "done" when no more will come.
(module
  (import "dora" "send_output" (func $send (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "dora" "log" (func $log (param i32 i32 i32 i32)))

  ;; One page of 64 KiB: our texts at its start, and the event from 1024 on.
  (memory (export "memory") 1)
  (data (i32.const 0) "word")
  (data (i32.const 8) "info")
  (data (i32.const 16) "done")

  ;; Where an event of this size may be put. 0 means that there is no room for it.
  (func (export "dora_alloc") (param $size i32) (result i32)
    (if (result i32) (i32.gt_u (local.get $size) (i32.const 64512))
      (then (i32.const 0))
      (else (i32.const 1024))))

  (func (export "dora_init") (result i32) (i32.const 0))

  (func (export "dora_drop"))

  (func (export "dora_on_event")
    (param $kind i32) (param $id i32) (param $id_length i32)
    (param $type i32) (param $type_length i32) (param $data i32) (param $length i32)
    (result i32)
    (local $at i32)
    (local $end i32)
    (if (i32.eq (local.get $kind) (i32.const 1))  ;; an input was closed
      (then (call $log (i32.const 8) (i32.const 4) (i32.const 16) (i32.const 4))))
    (if (local.get $kind)                         ;; anything but an input
      (then (return (i32.const 0))))

    (local.set $at (local.get $data))
    (local.set $end (i32.add (local.get $data) (local.get $length)))
    (block $all
      (loop $letter
        (br_if $all (i32.eq (local.get $at) (local.get $end)))
        (if (i32.lt_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 97)) (i32.const 26))
          (then
            (i32.store8 (local.get $at)
              (i32.sub (i32.load8_u (local.get $at)) (i32.const 32)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $letter)))

    ;; Name and type of the output, then its bytes. No type means uint8. A 0 of what it returns
    ;; means that it was sent, which is also the status CONTINUE.
    (drop (call $send (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0)
                      (local.get $data) (local.get $length)))
    (i32.const 0))
)
