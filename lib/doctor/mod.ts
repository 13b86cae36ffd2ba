export { doctor, type DoctorOptions } from "./doctor.ts";
export { type DoctorFinding, DoctorReport, type DoctorStatus } from "./report.ts";
