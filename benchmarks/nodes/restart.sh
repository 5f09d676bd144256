# Restarts the process beside this file, for deployers that restart nothing by themselves.
cd "$(dirname "$0")" || exit 1
if [ -f ../pid ]; then
  pid=$(cat ../pid)
  kill "$pid" 2>/dev/null
  while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
fi
setsid python3 deployed.py </dev/null >../log 2>&1 &
echo $! >../pid
