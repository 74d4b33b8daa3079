/** The platform this process runs on, as the file name of the native addon spells it: `linux-x64-gnu`. */
export function target(): string {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform !== 'linux') {
    return base;
  }
  return `${base}-${isGlibc() ? 'gnu' : 'musl'}`;
}

/** Whether the C library of this process is glibc; the report names its version, on musl it names none. */
function isGlibc(): boolean {
  const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined;
  if (report === undefined) {
    return true;
  }
  // The report lists network interfaces, which may ask a name server: leave them out.
  const excludeNetwork = report.excludeNetwork;
  report.excludeNetwork = true;
  try {
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return header?.glibcVersionRuntime !== undefined;
  } finally {
    if (excludeNetwork !== undefined) {
      report.excludeNetwork = excludeNetwork;
    }
  }
}
