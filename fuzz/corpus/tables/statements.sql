SELECT x FROM a; -- and
SELECT split(y, 1) FROM b;; SELECT 1