interface IsoletKeyValue {
  get<T = unknown>(key: string): Promise<T | null>;
  set(key: string, value: unknown, options?: { ttl?: number | null }): Promise<unknown>;
  setex(key: string, value: unknown, ttl: number): Promise<unknown>;
  setnx(key: string, value: unknown, options?: { ttl?: number | null }): Promise<boolean>;
  cas(key: string, expected: unknown, next: unknown, options?: { ttl?: number | null }): Promise<boolean>;
  incr(key: string, by?: number): Promise<number>;
  decr(key: string, by?: number): Promise<number>;
  delete(key: string): Promise<unknown>;
  exists(key: string): Promise<boolean>;
  ttl(key: string): Promise<number | null>;
  expire(key: string, seconds: number): Promise<unknown>;
  mget(...keys: string[]): Promise<unknown[]>;
  mset(values: Record<string, unknown>, options?: { ttl?: number | null }): Promise<unknown>;
}

/** The second argument of every handler: `Env`, and what the platform adds. */
type IsoletContext = Env & {
  readonly env: Record<string, unknown>;
  readonly user: { id: string; claims: Record<string, unknown> } | null;
  readonly caller: { type: string; keyId: string | null; scope: string | null; userId: string | null } | null;
  readonly request: { id: string; ip: string | null; country: string | null; functionName: string } | null;
  readonly db: { query<T = Record<string, unknown>>(sql: string, params?: unknown[]): Promise<{ rows: T[] }> };
  readonly kv: IsoletKeyValue;
  readonly idempotency: { claim(key: string, options?: { scope?: string; ttlSeconds?: number }): Promise<boolean> };
  readonly realtime: { publish(channel: string, event: string, data?: unknown): Promise<{ seq: number }> };
  readonly flows: {
    start(
      workflow: string,
      options?: { variables?: Record<string, unknown>; context?: Record<string, unknown> },
    ): Promise<{ id: string; tracking_id: string }>;
  };
  invoke(
    name: string,
    body?: unknown,
    options?: { method?: string; headers?: HeadersInit; signal?: AbortSignal },
  ): Promise<Response>;
  waitUntil(promise: Promise<unknown>): void;
};

type IsoletHandler = (request: Request, context: IsoletContext) => Response | Promise<Response>;

interface IsoletWorker {
  fetch?(request: Request, env: IsoletContext, ctx: ExecutionContext): Response | Promise<Response>;
  scheduled?(controller: ScheduledController, env: IsoletContext, ctx: ExecutionContext): void | Promise<void>;
}
